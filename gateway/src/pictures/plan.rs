//! Which deliverables an original will have, said before anything is decoded.

use super::container::Kind;
use super::{Encoding, Facts, Format, LabelPolicy, PictureError, Policy, Unlabelled, Variant};

/// What will be made of one original.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub(super) facts: Facts,
    pub(super) primary: Planned,
    pub(super) work: Work,
    pub(super) variants: Vec<(Planned, Variant)>,
    pub(super) placeholder: bool,
    pub(super) strips: bool,
    pub(super) label: Option<LabelPolicy>,
}

/// How the primary deliverable comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// The original's bytes.
    Pass,
    /// The original's pixels, other metadata.
    Rewrite,
    /// Decoded and encoded.
    Encode,
}

/// One deliverable to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What it is to the original.
    pub role: Role,
    /// Media type.
    pub content_type: String,
    pub(super) encoding: Encoding,
}

/// What a deliverable is to its original.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The one that stands for the output everywhere.
    Primary,
    /// A further one, by its name in the policy.
    Variant(String),
}

/// Plans the deliverables of one original.
///
/// # Errors
/// [`PictureError::LabelUnsupported`] where the policy wants a label that this type cannot carry and does not let such
/// files pass; [`PictureError::Unsupported`] where pixels are needed that cannot be read here.
pub fn plan(facts: &Facts, policy: &Policy) -> Result<Plan, PictureError> {
    let kind = facts.kind();
    let can_label = kind.is_some() && !facts.moves();
    if policy.label.is_some() && !can_label && policy.unlabelled == Unlabelled::Fail {
        return Err(PictureError::LabelUnsupported(facts.content_type.clone()));
    }
    let plan = match kind {
        None => passing(facts),
        Some(kind) => of_picture(facts, kind, policy),
    };
    match facts.refusal {
        Some(refusal) if plan.needs_pixels() => Err(PictureError::Unsupported(refusal)),
        _ => Ok(plan),
    }
}

fn passing(facts: &Facts) -> Plan {
    Plan {
        facts: facts.clone(),
        primary: Planned {
            role: Role::Primary,
            content_type: facts.content_type.clone(),
            encoding: Encoding::default(),
        },
        work: Work::Pass,
        variants: Vec::new(),
        placeholder: false,
        strips: false,
        label: None,
    }
}

fn of_picture(facts: &Facts, kind: Kind, policy: &Policy) -> Plan {
    let still = !facts.moves();
    let label = policy.label.clone();
    // An animation stays what it is: its frames are not touched.
    let wanted = if still { resolved(policy.format, kind, facts) } else { Encoding::default() };
    let target = target(wanted.format).unwrap_or(kind);
    let draws = still && label.as_ref().is_some_and(|label| label.visible);
    let work = if target != kind || draws || (still && changes(policy.format, kind, facts)) {
        Work::Encode
    } else if policy.strips() || (still && label.is_some()) {
        Work::Rewrite
    } else {
        Work::Pass
    };
    let readable = kind != Kind::Gif;
    let variants = policy.variants.iter().filter(|_| readable).map(|variant| {
        let encoding = resolved(variant.format, kind, facts);
        (planned(Role::Variant(variant.name.clone()), encoding, kind), variant.clone())
    });
    Plan {
        facts: facts.clone(),
        primary: planned(Role::Primary, Encoding { format: as_format(target), ..wanted }, target),
        work,
        variants: variants.collect(),
        placeholder: policy.placeholder && readable,
        strips: policy.strips(),
        label: label.filter(|_| readable),
    }
}

/// Whether a still must be encoded again although its format stays: it has loss, and the policy wants none, or names a
/// quality. A picture that is as wanted by its type alone keeps its pixels.
fn changes(wanted: Encoding, kind: Kind, facts: &Facts) -> bool {
    match (wanted.format, kind) {
        (Format::Jpeg, Kind::Jpeg) => wanted.quality.is_some(),
        (Format::Webp, Kind::Webp) => wanted.quality.is_some() || wanted.lossless != facts.lossless,
        _ => false,
    }
}

/// The settings with the original's own format filled in.
fn resolved(wanted: Encoding, kind: Kind, facts: &Facts) -> Encoding {
    if wanted.format != Format::AsMade {
        return wanted;
    }
    let lossless = kind == Kind::Webp && (wanted.lossless || facts.lossless && wanted.quality.is_none());
    Encoding { format: as_format(kind), lossless, ..wanted }
}

fn planned(role: Role, encoding: Encoding, kind: Kind) -> Planned {
    let content_type = target(encoding.format).unwrap_or(kind).content_type().to_owned();
    Planned { role, content_type, encoding }
}

fn target(format: Format) -> Option<Kind> {
    match format {
        Format::AsMade => None,
        Format::Png => Some(Kind::Png),
        Format::Jpeg => Some(Kind::Jpeg),
        Format::Webp => Some(Kind::Webp),
    }
}

fn as_format(kind: Kind) -> Format {
    match kind {
        Kind::Png => Format::Png,
        Kind::Jpeg => Format::Jpeg,
        Kind::Webp => Format::Webp,
        Kind::Gif => Format::AsMade,
    }
}

impl Plan {
    /// Whether the one deliverable is the original, byte for byte: it may be streamed without being read here.
    #[must_use]
    pub fn is_pass(&self) -> bool {
        self.work == Work::Pass && self.variants.is_empty() && !self.placeholder
    }

    /// What will be made, the primary first.
    pub fn deliverables(&self) -> impl Iterator<Item = &Planned> {
        std::iter::once(&self.primary).chain(self.variants.iter().map(|(planned, _)| planned))
    }

    pub(super) fn needs_pixels(&self) -> bool {
        self.work == Work::Encode || !self.variants.is_empty() || self.placeholder
    }
}

impl Planned {
    /// The deliverable's file name, out of the original's: its extension follows the format, a variant's name comes
    /// before it.
    #[must_use]
    pub fn file_name(&self, original: &str) -> String {
        let stem = original.rsplit_once('.').map_or(original, |(stem, _)| stem);
        let extension = Kind::of(&self.content_type).map(Kind::extension);
        match (&self.role, extension) {
            (Role::Primary, Some(extension)) if !names(original, extension) => format!("{stem}.{extension}"),
            (Role::Primary, _) => original.to_owned(),
            (Role::Variant(name), extension) => format!("{stem}.{name}.{}", extension.unwrap_or("bin")),
        }
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        Kind::of(&self.content_type)
    }
}

/// Whether the name ends in an extension of the same format.
fn names(original: &str, extension: &str) -> bool {
    let own = original.rsplit_once('.').map(|(_, own)| own.to_ascii_lowercase()).unwrap_or_default();
    own == extension || matches!((own.as_str(), extension), ("jpeg", "jpg") | ("apng", "png"))
}
