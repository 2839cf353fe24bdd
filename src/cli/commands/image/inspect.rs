//! `xcompose image inspect` and `image history`: what is in an image, in Docker's form.

use serde::Serialize;
use serde_json::ser::PrettyFormatter;
use serde_json::{Map, Value, json};

use crate::cli::commands::images::short;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::ui::table::Table;
use crate::cli::ui::template::Format;
use crate::cli::ui::time;
use crate::engine::ImageDetail;
use crate::values::byte_size;

/// Prints everything that is known of images: a list of objects, or a template each.
pub async fn inspect(context: &Context<'_>, names: &[String], format: Option<&str>) -> Result<(), Failure> {
    let format = format.map(Format::parse).transpose()?;
    let mut objects = Vec::new();
    let mut failed = None;
    for name in names {
        match context.engine().inspect_image(name).await {
            Ok(detail) => objects.push(object(detail)),
            // The others are shown all the same.
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match format {
        None => {
            let mut text = Vec::new();
            let form = PrettyFormatter::with_indent(b"    ");
            let written = objects.serialize(&mut serde_json::Serializer::with_formatter(&mut text, form));
            written.map_err(|error| Failure::usage(error.to_string()))?;
            text.push(b'\n');
            context.ui().bytes(&text)?;
        }
        Some(Format::Text(template)) => {
            for object in &objects {
                context.ui().line(&template.render(object)?)?;
            }
        }
        Some(_) => {
            for object in objects {
                context.ui().line(&Value::Object(object).to_string())?;
            }
        }
    }
    failed.map_or(Ok(()), |error| Err(error.into()))
}

fn object(detail: ImageDetail) -> Map<String, Value> {
    let ImageDetail { image, digests, document, .. } = detail;
    let names = |names: &[crate::values::image_ref::ImageRef]| -> Vec<String> {
        names.iter().map(|name| name.tagged()).collect()
    };
    let field = |name: &str| document.get(name).cloned();
    let tags: Vec<_> = image.names.iter().filter(|name| name.digest().is_none()).cloned().collect();
    let pinned: Vec<_> = image.names.iter().filter(|name| name.digest().is_some()).chain(&digests).cloned().collect();
    let mut known = names(&pinned);
    known.dedup();
    let layers = document.get("rootfs").and_then(|rootfs| rootfs.get("diff_ids")).cloned().unwrap_or(json!([]));
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    put("Id", image.id.0.into());
    put("RepoTags", names(&tags).into());
    put("RepoDigests", known.into());
    put("Comment", field("comment").unwrap_or("".into()));
    put("Created", field("created").unwrap_or(Value::Null));
    put("Author", field("author").unwrap_or("".into()));
    put("Config", field("config").unwrap_or(json!({})));
    put("Architecture", field("architecture").unwrap_or("".into()));
    if let Some(variant) = field("variant") {
        put("Variant", variant);
    }
    put("Os", field("os").unwrap_or("linux".into()));
    put("Size", image.size.into());
    put("RootFS", json!({ "Type": "layers", "Layers": layers }));
    put("Metadata", json!({ "LastTagTime": time::rfc3339(image.tagged) }));
    object
}

/// Prints how an image was made, the latest step first.
pub async fn history(context: &Context<'_>, name: &str, quiet: bool, whole: bool) -> Result<(), Failure> {
    let detail = context.engine().inspect_image(name).await?;
    let empty = Vec::new();
    let steps = detail.document.get("history").and_then(Value::as_array).unwrap_or(&empty);
    let mut sizes = detail.layers.iter();
    let mut rows = Vec::new();
    let now = time::now();
    for step in steps {
        let text = |field: &str| step.get(field).and_then(Value::as_str).unwrap_or_default();
        let is_empty = step.get("empty_layer").and_then(Value::as_bool).unwrap_or(false);
        let size = if is_empty { 0 } else { sizes.next().copied().unwrap_or(0) };
        let created = time::moment(text("created"), now).ok();
        let since = created
            .map_or("N/A".to_owned(), |moment| format!("{} ago", time::human(time::seconds_between(moment, now))));
        let by = text("created_by").replace('\t', " ");
        let by = if !whole && by.chars().count() > 45 { by.chars().take(44).chain(['…']).collect() } else { by };
        rows.push(vec!["<missing>".to_owned(), since, by, byte_size::human(size), text("comment").to_owned()]);
    }
    if let Some(id) = rows.last_mut().and_then(|row| row.first_mut()) {
        let full = &detail.image.id.0;
        *id = if whole { full.clone() } else { short(full).to_owned() };
    }
    let mut table = Table::new(&["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"]);
    for row in rows.into_iter().rev() {
        match (quiet, row.first()) {
            (true, Some(id)) => context.ui().line(id)?,
            _ => table.row(row),
        }
    }
    if quiet { Ok(()) } else { context.ui().text(&table.to_string()) }
}
