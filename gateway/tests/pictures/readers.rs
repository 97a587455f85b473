//! Files of ours read by programs of others: ExifTool, Pillow and exiv2 (`readers/read.py`).

use std::path::Path;
use std::process::Command;

use gateway::pictures::*;

use super::support::*;

#[test]
fn independent_readers_find_exactly_one_label_with_equal_json_and_legible_text() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/venv-pictures/bin/python");
    assert!(python.is_file(), "the readers are not installed: run `tests/setup-python`");
    let folder = tempfile::tempdir().unwrap();
    let label = AigcLabel::first(PRODUCER, &id());
    std::fs::write(folder.path().join("expected.json"), label.to_json()).unwrap();
    let count = write_pictures(folder.path());

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures/readers/read.py");
    let run = Command::new(python).arg("-B").arg(script).arg(folder.path()).output().unwrap();
    let (told, wrong) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{told}\n{wrong}");
    assert!(told.contains(&format!("{count} pictures read by three readers")), "{told}");
    println!("{told}");
}

/// One grey, with a prompt in it, in every format from every format, whole and smaller.
fn write_pictures(folder: &Path) -> usize {
    let grey = image::RgbImage::from_pixel(1000, 700, image::Rgb([90, 90, 90]));
    let originals = [
        ("image/png", with_chunks(&png(&grey.clone().into()), &[chunk(b"tEXt", b"prompt\0a secret")])),
        ("image/jpeg", with_segments(&jpeg(&grey), &[(0xfe, b"a secret prompt")])),
        ("image/webp", with_riff_chunks(&webp(&grey), 0x04, &[(b"XMP ", b"a secret prompt")])),
    ];
    let mut count = 0;
    for (content_type, bytes) in originals {
        for format in [Format::Png, Format::Jpeg, Format::Webp] {
            let policy = Policy {
                format: Encoding::of(format),
                variants: vec![variant("small", 256, format)],
                ..labelled()
            };
            for picture in make(&bytes, content_type, &policy).unwrap().pictures {
                let extension = picture.content_type.rsplit('/').next().unwrap().replace("jpeg", "jpg");
                let name = format!("{count}-{}.{extension}", picture.width);
                std::fs::write(folder.join(name), &picture.bytes).unwrap();
                count += 1;
            }
        }
    }
    count
}
