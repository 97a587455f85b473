//! The work itself: decode once, make every size once, label it, encode, read back.

use std::collections::BTreeMap;

use bytes::Bytes;
use fast_image_resize::{FilterType, Resizer};
use image::DynamicImage;

use super::container::{self, Inherited, Keep, Kind};
use super::label::{self, AigcLabel};
use super::limits::Deadline;
use super::pixels::{decode, encode, placeholder, resize, stamp::Stamp};
use super::plan::{Plan, Planned, Role, Work};
use super::{Limits, PictureError, ProduceId, verify};

/// The deliverables of one original.
#[derive(Debug, Clone)]
pub struct Made {
    /// In the order of [`Plan::deliverables`], the primary first.
    pub pictures: Vec<Picture>,
    /// BlurHash of the upright picture.
    pub placeholder: Option<String>,
}

/// One finished file.
#[derive(Debug, Clone)]
pub struct Picture {
    /// What it is to the original.
    pub role: Role,
    /// Media type.
    pub content_type: String,
    /// Width in pixels as stored; zero where it is no picture that we read.
    pub width: u32,
    /// Height in pixels as stored; zero where it is no picture that we read.
    pub height: u32,
    /// The file.
    pub bytes: Bytes,
}

/// Makes what was planned for these bytes. `id` is the number of the content in the label.
///
/// # Errors
/// See [`PictureError`]; nothing is handed out unless everything was made and passed its check.
pub fn produce(original: &Bytes, plan: &Plan, limits: &Limits, id: &ProduceId) -> Result<Made, PictureError> {
    if plan.facts.kind().is_some() {
        limits.bytes(original)?;
    }
    let label = plan.label.as_ref().map(|policy| AigcLabel::first(&policy.content_producer, id));
    let work = Task { original, plan, deadline: limits.deadline(), xmp: label.as_ref().map(xmp), label };
    work.run()
}

fn xmp(label: &AigcLabel) -> String {
    label::packet(&label.to_json())
}

struct Task<'a> {
    original: &'a Bytes,
    plan: &'a Plan,
    deadline: Deadline,
    label: Option<AigcLabel>,
    xmp: Option<String>,
}

impl Task<'_> {
    fn run(&self) -> Result<Made, PictureError> {
        let mut made: Vec<Option<Picture>> = Vec::new();
        made.resize_with(1 + self.plan.variants.len(), || None);
        made[0] = self.untouched_pixels()?;
        let placeholder = match self.plan.facts.kind() {
            Some(kind) if self.plan.needs_pixels() => self.draw_all(kind, &mut made)?,
            _ => None,
        };
        let pictures: Vec<Picture> = made.into_iter().flatten().collect();
        if pictures.len() != 1 + self.plan.variants.len() {
            return Err(PictureError::Unverified("a deliverable is missing"));
        }
        Ok(Made { pictures, placeholder })
    }

    /// The primary where its pixels stay as they are.
    fn untouched_pixels(&self) -> Result<Option<Picture>, PictureError> {
        let (plan, facts) = (self.plan, &self.plan.facts);
        let bytes = match (plan.work, facts.kind()) {
            (Work::Encode, _) => return Ok(None),
            (Work::Pass, _) | (_, None) => self.original.clone(),
            (Work::Rewrite, Some(kind)) => {
                let xmp = if facts.moves() { None } else { self.xmp.as_deref() };
                let bytes = container::rewrite(kind, self.original, self.keep(), xmp)?;
                let label = self.label.as_ref().filter(|_| xmp.is_some());
                let size = (facts.width, facts.height);
                verify::check(&bytes, kind, &verify::Wanted { size, label, stripped: plan.strips })?;
                bytes.into()
            }
        };
        Ok(Some(picture(&plan.primary, (facts.width, facts.height), bytes)))
    }

    fn keep(&self) -> Keep {
        match (self.plan.strips, &self.label) {
            (true, _) => Keep::Picture,
            (false, Some(_)) => Keep::AllButLabels,
            (false, None) => Keep::All,
        }
    }

    /// Everything that is made from pixels, smaller sizes first: the canvas itself is written on last.
    fn draw_all(&self, kind: Kind, made: &mut [Option<Picture>]) -> Result<Option<String>, PictureError> {
        let inherited = container::inherited(kind, self.original, self.keep())?;
        let mut canvas = decode::decode(self.original, &self.plan.facts)?;
        self.deadline.check()?;
        let full = (canvas.width(), canvas.height());
        let mut resizer = Resizer::new();
        let placeholder = match self.plan.placeholder {
            true => Some(placeholder::blurhash(&mut resizer, &canvas)?),
            false => None,
        };
        for (size, here) in self.smaller(full) {
            let mut pixels = resize::resize(&mut resizer, &canvas, size, FilterType::Lanczos3)?;
            self.finish(kind, &mut pixels, &here, &inherited, made)?;
        }
        let whole = self.whole(full);
        if !whole.is_empty() {
            self.finish(kind, &mut canvas, &whole, &inherited, made)?;
        }
        Ok(placeholder)
    }

    /// What is made in each size below the full one.
    fn smaller(&self, full: (u32, u32)) -> BTreeMap<(u32, u32), Vec<(usize, &Planned)>> {
        let mut sizes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (index, (planned, variant)) in self.plan.variants.iter().enumerate() {
            let size = resize::fit(full, variant.bounds());
            if size != full {
                sizes.entry(size).or_default().push((index + 1, planned));
            }
        }
        sizes
    }

    /// What is made in the full size.
    fn whole(&self, full: (u32, u32)) -> Vec<(usize, &Planned)> {
        let primary = (self.plan.work == Work::Encode).then_some((0, &self.plan.primary));
        let variants = self.plan.variants.iter().enumerate();
        let here = variants.filter(|(_, (_, variant))| resize::fit(full, variant.bounds()) == full);
        primary.into_iter().chain(here.map(|(index, (planned, _))| (index + 1, planned))).collect()
    }

    /// Labels pixels of one size and encodes them in each format that is wanted of it.
    fn finish(
        &self,
        from: Kind,
        canvas: &mut DynamicImage,
        wanted: &[(usize, &Planned)],
        inherited: &Inherited,
        made: &mut [Option<Picture>],
    ) -> Result<(), PictureError> {
        self.stamp(canvas)?;
        for (index, planned) in wanted {
            made[*index] = Some(self.encoded(from, canvas, planned, inherited)?);
        }
        Ok(())
    }

    fn stamp(&self, canvas: &mut DynamicImage) -> Result<(), PictureError> {
        let Some(label) = self.plan.label.as_ref().filter(|label| label.visible) else {
            return Ok(());
        };
        Stamp::new(label, canvas.width(), canvas.height())?.draw(canvas, label.corner);
        Ok(())
    }

    fn encoded(
        &self,
        from: Kind,
        canvas: &DynamicImage,
        planned: &Planned,
        inherited: &Inherited,
    ) -> Result<Picture, PictureError> {
        let kind = planned.kind().ok_or(PictureError::Unsupported("writing this type"))?;
        let mut extra = match planned.role {
            Role::Primary => inherited.for_format(from == kind),
            Role::Variant(_) => inherited.for_format(from == kind).colours_only(),
        };
        extra.settle_colours(canvas.color(), kind)?;
        let bytes = encode::encode(canvas, kind, planned.encoding)?;
        self.deadline.check()?;
        let bytes = container::dress(kind, bytes, &extra, self.xmp.as_deref())?;
        let size = (canvas.width(), canvas.height());
        let stripped = self.plan.strips || planned.role != Role::Primary;
        verify::check(&bytes, kind, &verify::Wanted { size, label: self.label.as_ref(), stripped })?;
        Ok(picture(planned, size, bytes.into()))
    }
}

fn picture(planned: &Planned, (width, height): (u32, u32), bytes: Bytes) -> Picture {
    let (role, content_type) = (planned.role.clone(), planned.content_type.clone());
    Picture { role, content_type, width, height, bytes }
}
