//! An image from the archive of a root file system.

use std::io::Read;

use crate::engine::{EngineError, ImageId, Subject};
use crate::runtime::image::compression::{self, Limit, read_ahead};
use crate::runtime::image::config::{History, ImageDocument};
use crate::runtime::image::digest::{Digest, Digester};
use crate::runtime::image::pack::pack;
use crate::runtime::image::staging::Staging;
use crate::runtime::image::store::{LayerArchive, LayerRecord, Store, failed};
use crate::runtime::image::tree::{empty_folder, open_directory};
use crate::runtime::image::unpack::{Owner, Whiteouts, unpack};
use crate::values::image_ref::ImageRef;

impl Store {
    /// Makes an image from the archive (plain, gzip or zstd) of a root file system. Like Docker's, it has no command.
    pub fn import(&self, archive: impl Read + Send, name: Option<&ImageRef>) -> Result<ImageId, EngineError> {
        let _hold = self.hold()?;
        let staging = self.stage()?;
        let subject = || Subject::Image(name.map_or_else(|| "from an archive".to_owned(), ToString::to_string));
        let files = staging.path().join("files");
        let root = empty_folder(&files).map_err(failed("import", subject()))?;
        // A file system's marks are its own affair: a file may be called `.wh.x`. But it would be lost when the image is saved.
        let (_, input) = compression::decompress(archive, Limit::default()).map_err(failed("import", subject()))?;
        read_ahead(input, |input| unpack(input, &root, "".as_ref(), Whiteouts::Layer, Owner::Archive))
            .map_err(failed("import", subject()))?;
        let (diff_id, _) = self.add_made_layer(&staging, &files, subject())?;
        let created = jiff::Timestamp::now().to_string();
        let mut document = ImageDocument::scratch();
        document.created = Some(created.clone());
        document.rootfs.diff_ids.push(diff_id.to_string());
        let comment = Some("Imported from an archive".to_owned());
        document.history.push(History { created: Some(created), comment, ..History::default() });
        self.publish(&staging, &document, name.map(std::slice::from_ref).unwrap_or_default())
    }

    /// Makes a layer of ours visible: its digest is that of its archive as we pack it. Returns the digest and the bytes of its files.
    pub(in crate::runtime) fn add_made_layer(
        &self,
        staging: &Staging,
        files: &std::path::Path,
        subject: Subject,
    ) -> Result<(Digest, u64), EngineError> {
        let root = open_directory(files).map_err(failed("pack", subject.clone()))?;
        let mut digester = Digester::new(std::io::sink());
        let packed = pack(&root, &mut digester).map_err(failed("pack", subject))?;
        let (diff_id, length, _) = digester.finish();
        let record = LayerRecord { size: packed.size, archive: LayerArchive::Packed { length }, made_in: None };
        self.add_layer(staging, files, &diff_id, &record)?;
        Ok((diff_id, packed.size))
    }
}
