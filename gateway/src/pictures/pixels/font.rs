//! The font of visible labels: a subset of Noto Sans SC (OFL-1.1, `assets/fonts`).

use std::sync::LazyLock;

use ab_glyph::{Font as _, FontRef};

static FONT: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    FontRef::try_from_slice(include_bytes!("../../../assets/fonts/NotoSansSC-Subset.otf"))
        .expect("the font is part of the program and tests read it")
});

pub(super) fn font() -> &'static FontRef<'static> {
    &FONT
}

/// Whether the font has a glyph for a character.
pub(in crate::pictures) fn has(c: char) -> bool {
    FONT.glyph_id(c).0 != 0
}
