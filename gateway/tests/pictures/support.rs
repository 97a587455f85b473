//! Pictures to work on, and what to look for in the results.

use bytes::Bytes;
use gateway::pictures::*;
use image::{DynamicImage, ImageEncoder as _, RgbImage, RgbaImage};

/// A producer's code of the published form, invented.
pub const PRODUCER: &str = "001191310000MA1FL0000X00000";
/// The number of the content.
pub const ID: &str = "job-0190f3c2-7d6e-7c11-9a51-3f2b8c1d2e4f-0";

pub fn id() -> ProduceId {
    ProduceId::new(ID).unwrap()
}

/// A picture with smooth and busy parts, the same for the same size.
pub fn scene(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let noise =
            (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503)).wrapping_mul(2_246_822_519) >> 24;
        let (across, down) = (x * 255 / width.max(1), y * 255 / height.max(1));
        image::Rgb([across as u8, down as u8, ((across + down + noise / 4) / 3) as u8])
    })
}

/// The same with a hole in the middle and half-transparent edges.
pub fn with_alpha(width: u32, height: u32) -> RgbaImage {
    let scene = scene(width, height);
    RgbaImage::from_fn(width, height, |x, y| {
        let [red, green, blue] = scene.get_pixel(x, y).0;
        let inside = x > width / 4 && x < width * 3 / 4 && y > height / 4 && y < height * 3 / 4;
        image::Rgba([red, green, blue, if inside { 255 } else { (x * 255 / width) as u8 }])
    })
}

pub fn png(picture: &DynamicImage) -> Vec<u8> {
    let mut file = Vec::new();
    image::codecs::png::PngEncoder::new(&mut file)
        .write_image(picture.as_bytes(), picture.width(), picture.height(), picture.color().into())
        .unwrap();
    file
}

pub fn jpeg(picture: &RgbImage) -> Vec<u8> {
    let mut file = Vec::new();
    jpeg_encoder::Encoder::new(&mut file, 92)
        .encode(
            picture.as_raw(),
            picture.width() as u16,
            picture.height() as u16,
            jpeg_encoder::ColorType::Rgb,
        )
        .unwrap();
    file
}

pub fn webp(picture: &RgbImage) -> Vec<u8> {
    webp::Encoder::from_rgb(picture.as_raw(), picture.width(), picture.height()).encode(80.0).to_vec()
}

/// One file of each format that we decode: media type and bytes.
pub fn one_of_each(width: u32, height: u32) -> [(&'static str, Vec<u8>); 3] {
    let scene = scene(width, height);
    [("image/png", png(&scene.clone().into())), ("image/jpeg", jpeg(&scene)), ("image/webp", webp(&scene))]
}

pub fn labelled() -> Policy {
    Policy {
        metadata: Some(Metadata::Strip),
        label: Some(LabelPolicy {
            content_producer: PRODUCER.to_owned(),
            text: "AI生成".to_owned(),
            corner: Corner::BottomRight,
            visible: true,
            required: true,
        }),
        ..Policy::default()
    }
}

pub fn stripping() -> Policy {
    Policy { metadata: Some(Metadata::Strip), ..Policy::default() }
}

pub fn variant(name: &str, edge: u32, format: Format) -> Variant {
    Variant {
        name: name.to_owned(),
        max_width: None,
        max_height: None,
        max_edge: Some(edge),
        format: Encoding::of(format),
    }
}

/// Everything from bytes to deliverables.
pub fn make(bytes: &[u8], content_type: &str, policy: &Policy) -> Result<Made, PictureError> {
    let limits = Limits::default();
    let facts = Facts::read(bytes, content_type, &limits)?;
    let plan = plan(&facts, policy)?;
    let made = produce(&Bytes::copy_from_slice(bytes), &plan, &limits, &id())?;
    let planned: Vec<_> = plan.deliverables().map(|p| (p.role.clone(), p.content_type.clone())).collect();
    let pictures: Vec<_> = made.pictures.iter().map(|p| (p.role.clone(), p.content_type.clone())).collect();
    assert_eq!(planned, pictures, "what is made is what was planned");
    Ok(made)
}

/// The primary deliverable.
pub fn primary(bytes: &[u8], content_type: &str, policy: &Policy) -> Bytes {
    make(bytes, content_type, policy).unwrap().pictures.remove(0).bytes
}

pub fn decoded(bytes: &[u8]) -> DynamicImage {
    image::load_from_memory(bytes).unwrap()
}

pub fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

/// A PNG chunk.
pub fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(kind);
    checksum.update(data);
    let length = u32::try_from(data.len()).unwrap();
    [&length.to_be_bytes()[..], kind, data, &checksum.finalize().to_be_bytes()].concat()
}

/// The PNG with further chunks after its header.
pub fn with_chunks(png: &[u8], chunks: &[Vec<u8>]) -> Vec<u8> {
    [&png[..33], &chunks.concat(), &png[33..]].concat()
}

/// The JPEG with further segments after its JFIF header.
pub fn with_segments(jpeg: &[u8], segments: &[(u8, &[u8])]) -> Vec<u8> {
    let head = 4 + usize::from(u16::from_be_bytes([jpeg[4], jpeg[5]])) - 2 + 2;
    let mut new = jpeg[..head].to_vec();
    for (marker, data) in segments {
        new.extend_from_slice(&[0xff, *marker]);
        new.extend_from_slice(&u16::try_from(data.len() + 2).unwrap().to_be_bytes());
        new.extend_from_slice(data);
    }
    new.extend_from_slice(&jpeg[head..]);
    new
}

/// The WebP as an extended file with further chunks at its end.
pub fn with_riff_chunks(webp: &[u8], flags: u8, chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let picture = decoded(webp);
    let side = |side: u32| (side - 1).to_le_bytes()[..3].to_vec();
    let head = [vec![flags, 0, 0, 0], side(picture.width()), side(picture.height())].concat();
    let mut body = b"WEBP".to_vec();
    let mut push = |kind: &[u8; 4], data: &[u8]| {
        body.extend_from_slice(kind);
        body.extend_from_slice(&u32::try_from(data.len()).unwrap().to_le_bytes());
        body.extend_from_slice(data);
        body.resize(body.len() + data.len() % 2, 0);
    };
    push(b"VP8X", &head);
    let (kind, data) = (webp[12..16].first_chunk().unwrap(), &webp[20..]);
    push(kind, data);
    chunks.iter().for_each(|(kind, data)| push(kind, data));
    [b"RIFF", &u32::try_from(body.len()).unwrap().to_le_bytes()[..], &body].concat()
}
