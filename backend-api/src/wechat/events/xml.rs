//! The XML of events: elements and text, no attributes, no entities but the five and numbers.

use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::{Map, Value};

use super::ParseError;

/// Elements within elements.
const MAX_DEPTH: usize = 16;

/// An element that is still open.
#[derive(Default)]
struct Open {
    name: String,
    text: String,
    fields: Map<String, Value>,
}

impl Open {
    fn add(&mut self, name: String, value: Value) {
        match self.fields.get_mut(&name) {
            None => drop(self.fields.insert(name, value)),
            Some(Value::Array(values)) => values.push(value),
            Some(one) => *one = Value::Array(vec![one.take(), value]),
        }
    }

    /// Elements win over the blanks between them.
    fn value(self) -> Value {
        match self.fields.is_empty() {
            true => Value::String(self.text.trim().to_owned()),
            false => Value::Object(self.fields),
        }
    }
}

/// The fields of the outermost element; elements of one name become a list.
pub(super) fn read(body: &[u8]) -> Result<Value, ParseError> {
    let text = str::from_utf8(body).map_err(|_| ParseError::Unreadable)?;
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    loop {
        match reader.read_event().map_err(|_| ParseError::Unreadable)? {
            Event::Start(start) if open.len() < MAX_DEPTH && root.is_none() => {
                open.push(Open { name: name(start.name().as_ref())?, ..Open::default() });
            }
            Event::Empty(empty) => {
                let name = name(empty.name().as_ref())?;
                open.last_mut().ok_or(ParseError::Unreadable)?.add(name, Value::String(String::new()));
            }
            Event::End(_) => {
                let mut ended = open.pop().ok_or(ParseError::Unreadable)?;
                let name = std::mem::take(&mut ended.name);
                match open.last_mut() {
                    Some(outer) => outer.add(name, ended.value()),
                    None => root = Some(ended.value()),
                }
            }
            Event::Text(text) => push(&mut open, &text.decode().map_err(|_| ParseError::Unreadable)?)?,
            Event::CData(text) => push(&mut open, &text.decode().map_err(|_| ParseError::Unreadable)?)?,
            Event::GeneralRef(reference) => {
                let text = match reference.resolve_char_ref().map_err(|_| ParseError::Unreadable)? {
                    Some(character) => character.to_string(),
                    None => named(&reference.decode().map_err(|_| ParseError::Unreadable)?)?.to_owned(),
                };
                push(&mut open, &text)?;
            }
            Event::Decl(_) | Event::Comment(_) => {}
            Event::Eof if open.is_empty() => return root.ok_or(ParseError::Unreadable),
            // document types could define entities, and nobody here writes instructions
            Event::Start(_) | Event::DocType(_) | Event::PI(_) | Event::Eof => {
                return Err(ParseError::Unreadable);
            }
        }
    }
}

fn name(bytes: &[u8]) -> Result<String, ParseError> {
    str::from_utf8(bytes).map(str::to_owned).map_err(|_| ParseError::Unreadable)
}

/// Text outside the outermost element may only be blank.
fn push(open: &mut [Open], text: &str) -> Result<(), ParseError> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err(ParseError::Unreadable),
    }
    Ok(())
}

fn named(entity: &str) -> Result<&'static str, ParseError> {
    match entity {
        "amp" => Ok("&"),
        "lt" => Ok("<"),
        "gt" => Ok(">"),
        "quot" => Ok("\""),
        "apos" => Ok("'"),
        _ => Err(ParseError::Unreadable),
    }
}
