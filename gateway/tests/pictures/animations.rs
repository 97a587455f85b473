//! Pictures that move: stripped, never changed.

use gateway::pictures::*;

use super::support::*;

const SECRET: &[u8] = b"the-secret-prompt";

/// Two frames, out of two PNGs of the same size.
fn apng() -> Vec<u8> {
    let (first, second) = (png(&scene(200, 160).into()), png(&image::RgbImage::new(200, 160).into()));
    let data = |png: &[u8]| {
        let at = png.windows(4).position(|window| window == b"IDAT").unwrap();
        let length = u32::from_be_bytes(*png[at - 4..].first_chunk().unwrap()) as usize;
        assert_eq!(&png[at + 4 + length + 4 + 4..][..4], b"IEND", "one chunk holds the picture");
        png[at + 4..at + 4 + length].to_vec()
    };
    let control = |number: u32| {
        let size = [200_u32, 160, 0, 0].map(u32::to_be_bytes).concat();
        chunk(b"fcTL", &[&number.to_be_bytes()[..], &size, &[0, 1, 0, 10, 0, 0]].concat())
    };
    let second = [&2_u32.to_be_bytes()[..], &data(&second)].concat();
    let parts = [
        chunk(b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0]),
        control(0),
        chunk(b"tEXt", &[b"prompt\0", SECRET].concat()),
        chunk(b"IDAT", &data(&first)),
        control(1),
        chunk(b"fdAT", &second),
    ];
    [&first[..33], &parts.concat(), &chunk(b"IEND", b"")].concat()
}

fn moving_webp() -> Vec<u8> {
    let config = webp::WebPConfig::new().unwrap();
    let mut encoder = webp::AnimEncoder::new(200, 160, &config);
    let frames = [scene(200, 160), image::RgbImage::new(200, 160)];
    for (time, frame) in frames.iter().enumerate() {
        encoder.add_frame(webp::AnimFrame::from_rgb(frame.as_raw(), 200, 160, time as i32 * 100));
    }
    let mut file = encoder.encode().to_vec();
    // A chunk of ours inside the first frame, and one behind the file's own.
    let at = file.windows(4).position(|window| window == b"ANMF").unwrap();
    let length = u32::from_le_bytes(*file[at + 4..].first_chunk().unwrap()) as usize;
    let private = [b"PRIV", &(SECRET.len() as u32).to_le_bytes()[..], SECRET, &[0]].concat();
    file.splice(at + 8 + length..at + 8 + length, private.clone());
    file[at + 4..at + 8].copy_from_slice(&u32::try_from(length + private.len()).unwrap().to_le_bytes());
    file.extend_from_slice(&private);
    let size = u32::try_from(file.len() - 8).unwrap().to_le_bytes();
    file[4..8].copy_from_slice(&size);
    file
}

/// Two frames of 2 x 2 pixels, a loop, a comment, an application's data, and something behind it all.
fn gif() -> Vec<u8> {
    let mut file = b"GIF89a\x02\0\x02\0\x80\0\0\0\0\0\xff\xff\xff".to_vec();
    file.extend_from_slice(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0");
    file.extend_from_slice(b"\x21\xfe\x11the-secret-prompt\0");
    file.extend_from_slice(b"\x21\xff\x0bXMP DataXMP\x11the-secret-prompt\0");
    for _ in 0..2 {
        file.extend_from_slice(b"\x21\xf9\x04\0\x0a\0\0\0\x2c\0\0\0\0\x02\0\x02\0\0\x02\x03\x44\x02\x05\0");
    }
    file.push(0x3b);
    [&file[..], SECRET].concat()
}

pub fn moving() -> [(&'static str, Vec<u8>); 3] {
    [("image/png", apng()), ("image/webp", moving_webp()), ("image/gif", gif())]
}

fn frames(bytes: &[u8], content_type: &str) -> u32 {
    Facts::read(bytes, content_type, &Limits::default()).unwrap().frames
}

#[test]
fn an_animation_is_stripped_and_keeps_its_frames() {
    for (content_type, bytes) in moving() {
        assert!(contains(&bytes, SECRET), "{content_type}");
        // A format is asked for as well: an animation stays what it is.
        let policy = Policy { format: Encoding::of(Format::Jpeg), ..stripping() };
        let made = primary(&bytes, content_type, &policy);
        assert!(!contains(&made, SECRET), "{content_type}");
        assert_eq!(frames(&made, content_type), 2, "{content_type}");
        assert_eq!(sniff(&made), Some(content_type));
        assert!(contains(&made, b"NETSCAPE2.0") == (content_type == "image/gif"));
    }
    let (before, after) = (moving_webp(), primary(&moving_webp(), "image/webp", &stripping()));
    let count = |bytes: &[u8]| webp::AnimDecoder::new(bytes).decode().map(|frames| frames.len());
    assert_eq!(count(&after), Ok(2));
    assert_eq!(count(&before), Ok(2), "the test's own file");
}

#[test]
fn an_animation_cannot_be_labelled() {
    for (content_type, bytes) in moving() {
        let error = make(&bytes, content_type, &labelled()).unwrap_err();
        assert!(matches!(&error, PictureError::LabelUnsupported(of) if of == content_type), "{error}");
        assert_eq!(error.code(), "label_unsupported");
    }
}

#[test]
fn where_the_tenant_lets_it_pass_its_stills_are_labelled_all_the_same() {
    for (content_type, bytes) in moving() {
        let policy = Policy {
            variants: vec![variant("poster", 128, Format::Jpeg)],
            placeholder: true,
            unlabelled: Unlabelled::Pass,
            ..labelled()
        };
        let made = make(&bytes, content_type, &policy).unwrap();
        assert!(!contains(&made.pictures[0].bytes, SECRET), "{content_type}");
        if content_type == "image/gif" {
            assert_eq!(made.pictures.len(), 1, "GIF is not decoded");
            continue;
        }
        assert_eq!(labels_in(&made.pictures[1].bytes).unwrap().len(), 1, "{content_type}");
        assert_eq!((made.pictures[1].width, made.pictures[1].height), (128, 102));
        assert!(made.placeholder.is_some());
    }
}
