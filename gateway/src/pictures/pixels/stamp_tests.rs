use super::*;

fn label(text: &str) -> LabelPolicy {
    LabelPolicy {
        content_producer: "x".to_owned(),
        text: text.to_owned(),
        corner: Corner::BottomRight,
        visible: true,
        required: true,
    }
}

#[test]
fn every_statement_has_five_percent_of_ink_at_every_size() {
    for text in ["AI生成", "人工智能生成", "AI合成"] {
        for side in [128, 200, 256, 333, 512, 1024, 1999, 4096] {
            let line = Line::of_ink(text, least_ink(side, side)).map(|line| line.ink);
            assert!(line.is_some_and(|ink| ink >= side.div_ceil(20)), "{text} at {side}: {line:?}");
        }
    }
}

#[test]
fn a_picture_too_small_for_legible_text_is_refused() {
    assert!(matches!(Stamp::new(&label("AI生成"), 16, 16), Err(PictureError::LabelImpossible { .. })));
    assert!(matches!(Stamp::new(&label("AI生成"), 4096, 8), Err(PictureError::LabelImpossible { .. })));
    assert!(Stamp::new(&label("AI生成"), 64, 64).is_ok());
}

#[test]
fn a_long_text_is_refused_rather_than_made_small() {
    let text = "本图片由人工智能生成仅供参考请勿用于其他用途谢谢合作";
    assert!(Stamp::new(&label(text), 512, 512).is_err());
    assert!(Stamp::new(&label(text), 1024, 512).is_ok());
}
