//! JSON without the fields that say nothing: a field that a later version adds changes no hash until it is used.
//!
//! A struct's field says nothing if it is none, false, or an empty list or map that is not in a `Some`. Entries of maps and
//! elements of lists always count. What differs between the replicas of a service is left out. Written directly instead of
//! through a tree of values, since every `up` hashes every service.

use std::fmt::Display;
use std::io::Write as _;

use serde::Serialize;
use serde::ser::{self, Serializer};

/// The canonical form of a thing. A value that JSON can't hold (a path that is no UTF-8) counts as null.
pub(super) fn bytes(thing: &impl Serialize) -> Vec<u8> {
    let mut canonical = Canonical { out: Vec::with_capacity(1024), some: false };
    canonical.value(thing);
    canonical.out
}

struct Canonical {
    out: Vec<u8>,
    /// The value just written was in a `Some`.
    some: bool,
}

/// Not a value of JSON.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unfit(String);

impl ser::Error for Unfit {
    fn custom<T: Display>(message: T) -> Unfit {
        Unfit(message.to_string())
    }
}

impl Canonical {
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        let start = self.out.len();
        self.some = false;
        if value.serialize(&mut *self).is_err() {
            self.out.truncate(start);
            self.out.extend_from_slice(b"null");
        }
    }

    fn text(&mut self, text: &str) {
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(&mut self.out, text);
    }

    fn plain(&mut self, value: impl Display) -> Result<(), Unfit> {
        // Writing to memory does not fail.
        let _ = write!(self.out, "{value}");
        Ok(())
    }

    fn variant(&mut self, name: &str) {
        self.out.push(b'{');
        self.text(name);
        self.out.push(b':');
    }
}

/// A list, map or struct that is being written: what ends it.
struct Open<'c> {
    canonical: &'c mut Canonical,
    first: bool,
    end: &'static [u8],
    /// Fields that belong to a replica.
    skip: &'static [&'static str],
}

impl<'c> Open<'c> {
    fn new(canonical: &'c mut Canonical, begin: u8, end: &'static [u8]) -> Open<'c> {
        canonical.out.push(begin);
        Open { canonical, first: true, end, skip: &[] }
    }

    fn comma(&mut self) {
        if !self.first {
            self.canonical.out.push(b',');
        }
        self.first = false;
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
        self.comma();
        self.canonical.value(value);
        Ok(())
    }

    fn field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Unfit> {
        if self.skip.contains(&key) {
            return Ok(());
        }
        let (before, first) = (self.canonical.out.len(), self.first);
        self.comma();
        self.canonical.text(key);
        self.canonical.out.push(b':');
        let start = self.canonical.out.len();
        self.canonical.value(value);
        let written = self.canonical.out.get(start..).unwrap_or_default();
        let nothing = match written {
            b"null" => true,
            b"false" | b"[]" | b"{}" => !self.canonical.some,
            _ => false,
        };
        if nothing {
            self.canonical.out.truncate(before);
            self.first = first;
        }
        Ok(())
    }

    fn close(self) -> Result<(), Unfit> {
        self.canonical.out.extend_from_slice(self.end);
        self.canonical.some = false;
        Ok(())
    }
}

impl<'c> Serializer for &'c mut Canonical {
    type Ok = ();
    type Error = Unfit;
    type SerializeSeq = Open<'c>;
    type SerializeTuple = Open<'c>;
    type SerializeTupleStruct = Open<'c>;
    type SerializeTupleVariant = Open<'c>;
    type SerializeMap = Open<'c>;
    type SerializeStruct = Open<'c>;
    type SerializeStructVariant = Open<'c>;

    fn serialize_bool(self, value: bool) -> Result<(), Unfit> {
        self.plain(value)
    }
    fn serialize_i8(self, value: i8) -> Result<(), Unfit> {
        self.plain(value)
    }
    fn serialize_i16(self, value: i16) -> Result<(), Unfit> {
        self.plain(value)
    }
    fn serialize_i32(self, value: i32) -> Result<(), Unfit> {
        self.plain(value)
    }
    fn serialize_i64(self, value: i64) -> Result<(), Unfit> {
        self.plain(value)
    }
    fn serialize_u8(self, value: u8) -> Result<(), Unfit> {
        self.plain(value)
    }
    fn serialize_u16(self, value: u16) -> Result<(), Unfit> {
        self.plain(value)
    }
    fn serialize_u32(self, value: u32) -> Result<(), Unfit> {
        self.plain(value)
    }
    fn serialize_u64(self, value: u64) -> Result<(), Unfit> {
        self.plain(value)
    }
    fn serialize_f32(self, value: f32) -> Result<(), Unfit> {
        self.plain(value)
    }
    fn serialize_f64(self, value: f64) -> Result<(), Unfit> {
        self.plain(value)
    }
    fn serialize_char(self, value: char) -> Result<(), Unfit> {
        self.text(value.encode_utf8(&mut [0; 4]));
        Ok(())
    }
    fn serialize_str(self, value: &str) -> Result<(), Unfit> {
        self.text(value);
        Ok(())
    }
    fn serialize_bytes(self, value: &[u8]) -> Result<(), Unfit> {
        value.serialize(self)
    }
    fn serialize_none(self) -> Result<(), Unfit> {
        self.serialize_unit()
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unfit> {
        value.serialize(&mut *self)?;
        self.some = true;
        Ok(())
    }
    fn serialize_unit(self) -> Result<(), Unfit> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Unfit> {
        self.serialize_unit()
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Unfit> {
        self.serialize_str(variant)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Unfit> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Unfit> {
        self.variant(variant);
        self.value(value);
        self.out.push(b'}');
        Ok(())
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Open<'c>, Unfit> {
        Ok(Open::new(self, b'[', b"]"))
    }
    fn serialize_tuple(self, _: usize) -> Result<Open<'c>, Unfit> {
        Ok(Open::new(self, b'[', b"]"))
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Open<'c>, Unfit> {
        Ok(Open::new(self, b'[', b"]"))
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Open<'c>, Unfit> {
        self.variant(variant);
        Ok(Open::new(self, b'[', b"]}"))
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Open<'c>, Unfit> {
        Ok(Open::new(self, b'{', b"}"))
    }
    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Open<'c>, Unfit> {
        let skip: &[&str] = if name == "ContainerConfig" { &["name", "project", "slot"] } else { &[] };
        Ok(Open { skip, ..Open::new(self, b'{', b"}") })
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Open<'c>, Unfit> {
        self.variant(variant);
        Ok(Open::new(self, b'{', b"}}"))
    }
}

impl ser::SerializeSeq for Open<'_> {
    type Ok = ();
    type Error = Unfit;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
        self.element(value)
    }
    fn end(self) -> Result<(), Unfit> {
        self.close()
    }
}

impl ser::SerializeTuple for Open<'_> {
    type Ok = ();
    type Error = Unfit;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
        self.element(value)
    }
    fn end(self) -> Result<(), Unfit> {
        self.close()
    }
}

impl ser::SerializeTupleStruct for Open<'_> {
    type Ok = ();
    type Error = Unfit;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
        self.element(value)
    }
    fn end(self) -> Result<(), Unfit> {
        self.close()
    }
}

impl ser::SerializeTupleVariant for Open<'_> {
    type Ok = ();
    type Error = Unfit;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
        self.element(value)
    }
    fn end(self) -> Result<(), Unfit> {
        self.close()
    }
}

impl ser::SerializeMap for Open<'_> {
    type Ok = ();
    type Error = Unfit;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unfit> {
        self.element(key)
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
        self.canonical.out.push(b':');
        self.canonical.value(value);
        Ok(())
    }
    fn end(self) -> Result<(), Unfit> {
        self.close()
    }
}

impl ser::SerializeStruct for Open<'_> {
    type Ok = ();
    type Error = Unfit;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Unfit> {
        self.field(key, value)
    }
    fn end(self) -> Result<(), Unfit> {
        self.close()
    }
}

impl ser::SerializeStructVariant for Open<'_> {
    type Ok = ();
    type Error = Unfit;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Unfit> {
        self.field(key, value)
    }
    fn end(self) -> Result<(), Unfit> {
        self.close()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Serialize, Default)]
    struct Part {
        list: Vec<u8>,
        clears: Option<Vec<u8>>,
        flag: bool,
        chosen: Option<bool>,
        map: BTreeMap<String, Option<String>>,
        kind: Kind,
        inner: Option<Box<Part>>,
    }

    #[derive(Serialize, Default)]
    enum Kind {
        #[default]
        Plain,
        Pair(u8, bool),
        Named {
            a: u8,
            b: Option<u8>,
        },
        One(String),
    }

    fn text(part: &Part) -> String {
        String::from_utf8(bytes(part)).unwrap()
    }

    #[test]
    fn what_has_its_default_is_left_out() {
        assert_eq!(text(&Part::default()), r#"{"kind":"Plain"}"#);
        let inner = Some(Box::new(Part { flag: true, ..Part::default() }));
        assert_eq!(
            text(&Part { inner, ..Part::default() }),
            r#"{"kind":"Plain","inner":{"flag":true,"kind":"Plain"}}"#
        );
    }

    #[test]
    fn what_is_said_on_purpose_stays_even_if_empty() {
        let part = Part {
            clears: Some(Vec::new()),
            chosen: Some(false),
            map: [("A".to_owned(), None), ("B".to_owned(), Some(String::new()))].into(),
            ..Part::default()
        };
        assert_eq!(text(&part), r#"{"clears":[],"chosen":false,"map":{"A":null,"B":""},"kind":"Plain"}"#);
    }

    #[test]
    fn what_stays_reads_as_json() {
        let kinds = [
            (Kind::Pair(1, false), r#"{"Pair":[1,false]}"#),
            (Kind::Named { a: 1, b: None }, r#"{"Named":{"a":1}}"#),
            (Kind::One("\"\n".to_owned()), r#"{"One":"\"\n"}"#),
        ];
        for (kind, form) in kinds {
            let text = text(&Part { list: vec![1, 2], kind, ..Part::default() });
            assert_eq!(text, format!(r#"{{"list":[1,2],"kind":{form}}}"#));
            assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        }
    }

    #[test]
    fn a_value_that_is_no_json_is_null_and_changes_nothing_else() {
        use std::os::unix::ffi::OsStrExt;
        let odd = std::path::Path::new(std::ffi::OsStr::from_bytes(b"/\xff"));
        assert_eq!(bytes(&(1, odd, 2)), b"[1,null,2]");
    }
}
