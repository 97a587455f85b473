//! Whether a policy can be carried out. All problems are told at once.

use super::{Encoding, Format, LabelPolicy, MAX_VARIANTS, Policy, Variant};
use crate::pictures::label::is_allowed_value;
use crate::pictures::pixels::font;

/// Shortest and longest bound of a variant, in pixels.
const VARIANT_EDGE: std::ops::RangeInclusive<u32> = 16..=16_384;
/// Characters of a label's text, at most.
const MAX_TEXT_CHARS: usize = 32;
/// Bytes of a provider's name or code, at most.
const MAX_PRODUCER_BYTES: usize = 128;

/// A policy that cannot be carried out, or a choice that the tenant's policy does not leave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("picture policy: {}", .problems.join("; "))]
pub struct PolicyError {
    /// What is wrong, each with the field's name; fit to be shown.
    pub problems: Vec<String>,
}

impl Policy {
    /// Whether the policy can be carried out.
    ///
    /// # Errors
    /// Every problem found, by field.
    pub fn check(&self) -> Result<(), PolicyError> {
        let mut problems = Vec::new();
        encoding("format", &self.format, &mut problems);
        if self.variants.len() > MAX_VARIANTS {
            problems.push(format!("variants: at most {MAX_VARIANTS}"));
        }
        for (index, variant) in self.variants.iter().enumerate() {
            one_variant(variant, &mut problems);
            if self.variants[..index].iter().any(|other| other.name == variant.name) {
                problems.push(format!("variants.{}: the name is used twice", shown(&variant.name)));
            }
        }
        if let Some(label) = &self.label {
            one_label(label, &mut problems);
        }
        if problems.is_empty() { Ok(()) } else { Err(PolicyError { problems }) }
    }
}

fn encoding(at: &str, encoding: &Encoding, problems: &mut Vec<String>) {
    if encoding.quality.is_some_and(|quality| !(1..=100).contains(&quality)) {
        problems.push(format!("{at}.quality: 1 to 100"));
    }
    if encoding.quality.is_some() && (encoding.format == Format::Png || encoding.lossless) {
        problems.push(format!("{at}.quality: without loss there is none"));
    }
    if encoding.lossless && matches!(encoding.format, Format::Png | Format::Jpeg) {
        problems.push(format!("{at}.lossless: only WebP has it"));
    }
}

fn one_variant(variant: &Variant, problems: &mut Vec<String>) {
    let at = format!("variants.{}", shown(&variant.name));
    let name_fits = (1..=32).contains(&variant.name.len())
        && variant.name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
    if !name_fits {
        problems.push(format!("{at}: a name is 1 to 32 of a-z, 0-9, - and _"));
    }
    let edges = [variant.max_width, variant.max_height, variant.max_edge];
    if edges.iter().flatten().any(|edge| !VARIANT_EDGE.contains(edge)) {
        let (least, most) = (VARIANT_EDGE.start(), VARIANT_EDGE.end());
        problems.push(format!("{at}: bounds are {least} to {most} pixels"));
    }
    encoding(&at, &variant.format, problems);
}

fn one_label(label: &LabelPolicy, problems: &mut Vec<String>) {
    let producer = &label.content_producer;
    if producer.is_empty() || producer.len() > MAX_PRODUCER_BYTES || !is_allowed_value(producer) {
        problems.push(format!(
            "label.content_producer: 1 to {MAX_PRODUCER_BYTES} printable ASCII characters without space, \" and \\"
        ));
    }
    let text = &label.text;
    if text.chars().count() > MAX_TEXT_CHARS {
        problems.push(format!("label.text: at most {MAX_TEXT_CHARS} characters"));
    }
    // GB 45438-2025, 5.2: an AI element and a generation element.
    let (ai, made) = (["AI", "人工智能"], ["生成", "合成"]);
    if !ai.iter().any(|word| text.contains(word)) || !made.iter().any(|word| text.contains(word)) {
        problems.push("label.text: it must contain AI or 人工智能, and 生成 or 合成".to_owned());
    }
    if let Some(missing) = text.chars().find(|c| !font::has(*c)) {
        problems.push(format!("label.text: the font has no glyph for {missing:?}"));
    }
}

/// A name as it may appear in a message.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(32).collect()
}
