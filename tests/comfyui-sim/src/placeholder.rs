//! Small valid files for savers whose content does not matter.

/// A FLAC stream of no samples: marker and STREAMINFO for 44.1 kHz, two channels, 16 bits.
pub(crate) fn flac() -> Vec<u8> {
    let mut file = b"fLaC\x80\x00\x00\x22\x10\x00\x10\x00\x00\x00\x00\x00\x00\x00".to_vec();
    file.extend([0x0a, 0xc4, 0x42, 0xf0, 0, 0, 0, 0]);
    file.extend([0; 16]);
    file
}

/// An ISO media file of no tracks: `ftyp`, an empty `moov` header and an empty `mdat`.
pub(crate) fn mp4() -> Vec<u8> {
    let mut mvhd = vec![0; 12];
    mvhd.extend(1000u32.to_be_bytes());
    mvhd.extend([0; 4]);
    mvhd.extend(0x0001_0000u32.to_be_bytes());
    mvhd.extend([1, 0]);
    mvhd.extend([0; 10]);
    for row in [[0x0001_0000u32, 0, 0], [0, 0x0001_0000, 0], [0, 0, 0x4000_0000]] {
        mvhd.extend(row.iter().flat_map(|cell| cell.to_be_bytes()));
    }
    mvhd.extend([0; 24]);
    mvhd.extend(1u32.to_be_bytes());
    let mut file = boxed(b"ftyp", b"isom\x00\x00\x02\x00isomiso2avc1mp41");
    file.extend(boxed(b"moov", &boxed(b"mvhd", &mvhd)));
    file.extend(boxed(b"mdat", &[]));
    file
}

fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 8).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], kind, content].concat()
}
