//! The part of Go's templates that people use with `--format`: text, `{{.Field}}`, `{{json .}}`, `{{json .Field}}`,
//! `{{.Label "key"}}`, and the `table` form with its header.

use serde_json::{Map, Value};

use crate::cli::ui::table::Table;

/// A parsed `--format`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// Columns with a header.
    Table,
    /// An object a line.
    Json,
    /// Columns by a template.
    Columns(Template),
    /// Text by a template.
    Text(Template),
}

/// A template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(String),
    Json(Option<String>),
    Label(String),
}

/// The template has something that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// `{{` without `}}`.
    #[error("template parsing error: unclosed action in {0:?}")]
    Unclosed(String),
    /// More than fields.
    #[error("template parsing error: {{{{{0}}}}} is not supported; fields ({{{{.Name}}}}) and json are")]
    Unsupported(String),
    /// No such field.
    #[error("template: no field {0:?}; there are {1}")]
    NoField(String, String),
}

impl Format {
    /// From the flag's text.
    pub fn parse(text: &str) -> Result<Format, InvalidTemplate> {
        match text {
            "" | "table" => Ok(Format::Table),
            "json" => Ok(Format::Json),
            _ => match text.strip_prefix("table ") {
                Some(template) => Template::parse(template).map(Format::Columns),
                None => Template::parse(text).map(Format::Text),
            },
        }
    }
}

impl Template {
    fn parse(text: &str) -> Result<Template, InvalidTemplate> {
        // Shells pass `\t` and `\n` as they are written; Docker turns them into what they mean.
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        let mut pieces = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("{{") {
            let (action, behind) = after.split_once("}}").ok_or_else(|| InvalidTemplate::Unclosed(text.clone()))?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(action_of(action.trim())?);
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Template(pieces))
    }

    /// The text for one object.
    pub fn render(&self, object: &Map<String, Value>) -> Result<String, InvalidTemplate> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Field(name) => match field(object, name)? {
                    Value::String(value) => text.push_str(value),
                    other => text.push_str(&other.to_string()),
                },
                Piece::Json(None) => text.push_str(&Value::Object(object.clone()).to_string()),
                Piece::Json(Some(name)) => text.push_str(&field(object, name)?.to_string()),
                Piece::Label(key) => {
                    let labels = object.get("Labels").and_then(Value::as_str).unwrap_or_default();
                    let found =
                        labels.split(',').filter_map(|label| label.split_once('=')).find(|(name, _)| name == key);
                    text.push_str(found.map_or("", |(_, value)| value));
                }
            }
        }
        Ok(text)
    }

    /// The header of a table whose columns are these fields.
    fn header(&self) -> String {
        let words = |piece: &Piece| match piece {
            Piece::Text(plain) => plain.clone(),
            Piece::Field(name) => heading(name),
            Piece::Json(_) => String::new(),
            Piece::Label(key) => key.clone(),
        };
        self.0.iter().map(words).collect()
    }

    /// A table of these objects.
    pub fn table(&self, objects: &[Map<String, Value>]) -> Result<Table, InvalidTemplate> {
        let header = self.header();
        let mut table = Table::new(&header.split('\t').collect::<Vec<_>>());
        for object in objects {
            table.row(self.render(object)?.split('\t').map(str::to_owned).collect());
        }
        Ok(table)
    }
}

fn action_of(action: &str) -> Result<Piece, InvalidTemplate> {
    let unsupported = || InvalidTemplate::Unsupported(action.to_owned());
    let name = |text: &str| {
        let name = text.strip_prefix('.').ok_or_else(unsupported)?;
        if name.chars().all(|c| c.is_ascii_alphanumeric()) { Ok(name.to_owned()) } else { Err(unsupported()) }
    };
    match action.split_once(' ').map(|(word, rest)| (word, rest.trim())) {
        Some(("json", ".")) => Ok(Piece::Json(None)),
        Some(("json", field)) => Ok(Piece::Json(Some(name(field)?))),
        Some((".Label", key)) => {
            let quoted = key.strip_prefix('"').and_then(|key| key.strip_suffix('"'));
            Ok(Piece::Label(quoted.ok_or_else(unsupported)?.to_owned()))
        }
        Some(_) => Err(unsupported()),
        None if action.len() > 1 => Ok(Piece::Field(name(action)?)),
        None => Err(unsupported()),
    }
}

fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a Value, InvalidTemplate> {
    let known = || object.keys().map(|key| format!(".{key}")).collect::<Vec<_>>().join(" ");
    object.get(name).ok_or_else(|| InvalidTemplate::NoField(name.to_owned(), known()))
}

/// `CreatedAt` is `CREATED AT`, as Docker heads its columns; a few have a heading of their own.
fn heading(field: &str) -> String {
    match field {
        "RunningFor" => return "CREATED".to_owned(),
        "Names" => return "NAME".to_owned(),
        _ => {}
    }
    let mut text = String::new();
    let mut small = false;
    for c in field.chars() {
        if small && c.is_ascii_uppercase() {
            text.push(' ');
        }
        small = c.is_ascii_lowercase();
        text.push(c.to_ascii_uppercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> Map<String, Value> {
        let text = r#"{"Name":"p-web-1","ExitCode":0,"Labels":"a=1,b=x=y","CreatedAt":"now"}"#;
        serde_json::from_str(text).unwrap()
    }

    fn text(format: &str) -> Result<String, InvalidTemplate> {
        match Format::parse(format)? {
            Format::Text(template) => template.render(&object()),
            Format::Columns(template) => template.table(&[object()]).map(|table| table.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fields_json_and_labels_are_filled_in() {
        assert_eq!(text("{{.Name}}: {{ .ExitCode }}").unwrap(), "p-web-1: 0");
        assert_eq!(text(r#"{{.Label "b"}}|{{.Label "c"}}"#).unwrap(), "x=y|");
        assert_eq!(text("{{json .Name}}").unwrap(), "\"p-web-1\"");
        assert_eq!(text("{{json .}}").unwrap(), serde_json::to_string(&object()).unwrap());
    }

    #[test]
    fn a_table_template_has_headings() {
        insta::assert_snapshot!(text("table {{.Name}}\\t{{.CreatedAt}}").unwrap(), @r"
        NAME      CREATED AT
        p-web-1   now
        ");
    }

    #[test]
    fn what_is_not_understood_is_named() {
        insta::assert_snapshot!(text("{{.Nam}}").unwrap_err(), @r#"template: no field "Nam"; there are .Name .ExitCode .Labels .CreatedAt"#);
        insta::assert_snapshot!(text("{{range .}}").unwrap_err(), @"template parsing error: {{range .}} is not supported; fields ({{.Name}}) and json are");
        insta::assert_snapshot!(text("a {{.Name").unwrap_err(), @r#"template parsing error: unclosed action in "a {{.Name""#);
    }
}
