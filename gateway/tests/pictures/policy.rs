//! Policies: what is taken, what is refused, what a job may choose.

use gateway::pictures::*;

use super::support::*;

fn read(json: &str) -> Policy {
    serde_json::from_str(json).unwrap()
}

#[test]
fn an_empty_policy_changes_nothing_and_a_full_one_survives_a_round_trip() {
    assert_eq!(read("{}"), Policy::default());
    let full = Policy {
        metadata: Some(Metadata::Strip),
        format: Encoding { format: Format::Webp, quality: Some(80), lossless: false },
        variants: vec![variant("thumb", 256, Format::Jpeg)],
        placeholder: true,
        unlabelled: Unlabelled::Pass,
        ..labelled()
    };
    full.check().unwrap();
    assert_eq!(read(&serde_json::to_string(&full).unwrap()), full);
    let toml: Policy = toml::from_str(
        "metadata = 'strip'\nformat = { type = 'webp', quality = 80 }\nplaceholder = true\nunlabelled = 'pass'\n\
         variants = [{ name = 'thumb', max_edge = 256, format = { type = 'jpeg' } }]\n\
         label = { content_producer = '001191310000MA1FL0000X00000' }",
    )
    .unwrap();
    assert_eq!(toml, full, "the label's other fields have defaults");
}

#[test]
fn unknown_fields_are_refused_everywhere() {
    for json in [
        r#"{"strip": true}"#,
        r#"{"format": {"type": "png", "speed": 1}}"#,
        r#"{"format": {"type": "avif"}}"#,
        r#"{"variants": [{"name": "a", "crop": true}]}"#,
        r#"{"label": {"content_producer": "x", "colour": "red"}}"#,
        r#"{"label": {}}"#,
    ] {
        assert!(serde_json::from_str::<Policy>(json).is_err(), "{json}");
    }
    assert!(serde_json::from_str::<Choice>(r#"{"unlabelled": "pass"}"#).is_err(), "not a job's choice");
}

#[test]
fn every_problem_is_told_at_once() {
    let mut policy = labelled();
    policy.format = Encoding { format: Format::Png, quality: Some(0), lossless: true };
    policy.variants = (0..9).map(|_| variant("Bad Name", 3, Format::Jpeg)).collect();
    let label = policy.label.as_mut().unwrap();
    label.text = "一张图😀".to_owned();
    label.content_producer = "公司".to_owned();
    let problems = policy.check().unwrap_err().problems;
    for part in [
        "1 to 100",
        "without loss",
        "lossless",
        "at most 8",
        "1 to 32 of",
        "used twice",
        "16 to 16384",
        "content_producer",
        "人工智能",
        "no glyph for '😀'",
    ] {
        assert!(problems.iter().any(|problem| problem.contains(part)), "{part} is not in {problems:#?}");
    }
}

#[test]
fn texts_of_the_law_are_taken_and_others_not() {
    for (text, fits) in [
        ("AI生成", true),
        ("人工智能生成", true),
        ("AI合成", true),
        ("本图由 AI 生成", true),
        ("生成", false),
        ("AI", false),
        ("made by AI", false),
        ("", false),
    ] {
        let mut policy = labelled();
        policy.label.as_mut().unwrap().text = text.to_owned();
        assert_eq!(policy.check().is_ok(), fits, "{text}");
    }
}

#[test]
fn a_job_may_choose_formats_but_not_switch_off_what_its_tenant_requires() {
    let tenant = labelled();
    let wish = Choice {
        format: Some(Encoding::of(Format::Webp)),
        variants: Some(vec![variant("mini", 64, Format::Jpeg)]),
        placeholder: Some(true),
        ..Choice::default()
    };
    let job = tenant.narrow(&wish).unwrap();
    assert_eq!((&job.label, job.metadata), (&tenant.label, Some(Metadata::Strip)));
    assert_eq!((job.format.format, job.variants.len(), job.placeholder), (Format::Webp, 1, true));

    let off = Choice { label: Some(false), metadata: Some(Metadata::Keep), ..Choice::default() };
    let problems = tenant.narrow(&off).unwrap_err().problems;
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert_eq!(tenant.narrow(&Choice::default()).unwrap(), tenant);
}

#[test]
fn a_job_may_go_without_a_label_that_is_not_required_and_ask_for_one_that_is_configured() {
    let mut tenant = labelled();
    tenant.label.as_mut().unwrap().required = false;
    let off = Choice { label: Some(false), ..Choice::default() };
    assert_eq!(tenant.narrow(&off).unwrap().label, None);
    assert!(tenant.narrow(&Choice::default()).unwrap().label.is_some(), "unasked it is on");
    let on = Choice { label: Some(true), ..Choice::default() };
    assert!(tenant.narrow(&on).is_ok());
    assert!(Policy::default().narrow(&on).is_err(), "there is no producer to name");
}

#[test]
fn a_job_may_strip_more_and_a_face_decides_where_nobody_did() {
    let keeps = Policy { metadata: Some(Metadata::Keep), ..Policy::default() };
    let strip = Choice { metadata: Some(Metadata::Strip), ..Choice::default() };
    assert_eq!(keeps.narrow(&strip).unwrap().metadata, Some(Metadata::Strip));
    assert_eq!(keeps.or_metadata(Metadata::Strip).metadata, Some(Metadata::Keep));
    assert_eq!(Policy::default().or_metadata(Metadata::Strip).metadata, Some(Metadata::Strip));
}

#[test]
fn a_choice_that_cannot_be_carried_out_is_refused() {
    let wish = Choice { variants: Some(vec![variant("../x", 64, Format::Png)]), ..Choice::default() };
    assert!(Policy::default().narrow(&wish).is_err());
}
