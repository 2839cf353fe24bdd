//! Images by digest: what `config --resolve-image-digests` and `--lock-image-digests` make of a model.

use super::model::Model;
use super::tree::{Mapping, Node, Value};
use crate::values::image_ref::ImageRef;

impl Model {
    /// Names the image of each active service in full and by digest; `digest` is asked where the file has none.
    /// Services that only have a build stay as they are.
    pub fn pin_images<E>(&mut self, mut digest: impl FnMut(&ImageRef) -> Result<String, E>) -> Result<(), E> {
        for (_, entry) in self.services_mut() {
            let Some(image) = entry.node.as_mapping_mut().and_then(|service| service.get_mut("image")) else {
                continue;
            };
            let Some(name) = image.as_str().and_then(|text| text.parse::<ImageRef>().ok()) else { continue };
            let pinned = match name.digest() {
                // Beside a digest, a tag says nothing.
                Some(digest) => format!("{}/{}@{digest}", name.registry(), name.repository()),
                None => format!("{}@{}", name.canonical(), digest(&name)?),
            };
            image.value = Value::String(pinned);
        }
        Ok(())
    }

    /// Keeps nothing but the services and their images: a file to lay over the others.
    pub fn keep_images_only(&mut self) {
        for (_, entry) in self.services_mut() {
            if let Some(service) = entry.node.as_mapping_mut() {
                service.retain(|key, _| key == "image");
            }
        }
        if let Some(map) = self.tree.as_mapping_mut() {
            map.retain(|key, _| key == "services");
        }
    }

    fn services_mut(&mut self) -> impl Iterator<Item = (&str, &mut super::tree::Entry)> {
        let services =
            self.tree.as_mapping_mut().and_then(|map| map.get_mut("services")).and_then(Node::as_mapping_mut);
        services.into_iter().flat_map(Mapping::iter_mut)
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::fuzz::loaded;
    use crate::spec::print::Format;

    #[test]
    fn an_image_is_asked_for_its_digest_unless_it_has_one() {
        let (known, asked) = (format!("sha256:{}", "a".repeat(64)), format!("sha256:{}", "b".repeat(64)));
        let text = format!("services: {{a: {{image: 'x:1@{known}', user: u}}, b: {{image: y}}, c: {{build: .}}}}");
        let mut model = loaded(&[("a.yaml", text.as_bytes())]).unwrap().model;
        model.pin_images(|_| Ok::<_, ()>(asked.clone())).unwrap();
        model.keep_images_only();
        let printed = model.print_raw(Format::Yaml).unwrap();
        let (a, b) = (format!("docker.io/library/x@{known}"), format!("docker.io/library/y:latest@{asked}"));
        assert_eq!(printed, format!("services:\n  a:\n    image: {a}\n  b:\n    image: {b}\n  c: {{}}\n"));
        assert_eq!(model.pin_images(|_| Err("never asked")), Ok(()));
    }
}
