//! Kinds and media types of files: by extension in listings (PROTOCOL §4: never by key), by first bytes when stored.

use crate::link::message::OutputKind;

/// Kind and media type of a file name.
pub(crate) fn by_name(name: &str) -> (OutputKind, &'static str) {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref().unwrap_or_default() {
        "png" | "apng" => (OutputKind::Image, "image/png"),
        "jpg" | "jpeg" => (OutputKind::Image, "image/jpeg"),
        "webp" => (OutputKind::Image, "image/webp"),
        "gif" => (OutputKind::Image, "image/gif"),
        "avif" => (OutputKind::Image, "image/avif"),
        "bmp" => (OutputKind::Image, "image/bmp"),
        "tif" | "tiff" => (OutputKind::Image, "image/tiff"),
        "svg" => (OutputKind::Image, "image/svg+xml"),
        "exr" => (OutputKind::Image, "image/x-exr"),
        "mp4" | "m4v" => (OutputKind::Video, "video/mp4"),
        "webm" => (OutputKind::Video, "video/webm"),
        "mov" => (OutputKind::Video, "video/quicktime"),
        "mkv" => (OutputKind::Video, "video/x-matroska"),
        "avi" => (OutputKind::Video, "video/x-msvideo"),
        "flac" => (OutputKind::Audio, "audio/flac"),
        "mp3" => (OutputKind::Audio, "audio/mpeg"),
        "wav" => (OutputKind::Audio, "audio/wav"),
        "ogg" | "opus" => (OutputKind::Audio, "audio/ogg"),
        "m4a" | "aac" => (OutputKind::Audio, "audio/mp4"),
        "txt" | "md" | "csv" => (OutputKind::Text, "text/plain"),
        "json" => (OutputKind::Text, "application/json"),
        "latent" => (OutputKind::Latent, "application/octet-stream"),
        "glb" => (OutputKind::File, "model/gltf-binary"),
        "gltf" => (OutputKind::File, "model/gltf+json"),
        "obj" => (OutputKind::File, "model/obj"),
        "pdf" => (OutputKind::File, "application/pdf"),
        "zip" => (OutputKind::File, "application/zip"),
        _ => (OutputKind::File, "application/octet-stream"),
    }
}

/// How many first bytes tell a type.
pub(crate) const SNIFF_BYTES: usize = 16;

/// Media type by the first bytes, where they tell.
pub(crate) fn by_bytes(head: &[u8]) -> Option<&'static str> {
    const STARTS: [(&[u8], &str); 11] = [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF8", "image/gif"),
        (b"fLaC", "audio/flac"),
        (b"OggS", "audio/ogg"),
        (b"ID3", "audio/mpeg"),
        (b"glTF", "model/gltf-binary"),
        (b"%PDF-", "application/pdf"),
        (b"PK\x03\x04", "application/zip"),
        (b"II*\0", "image/tiff"),
        (b"MM\0*", "image/tiff"),
    ];
    if let Some((_, kind)) = STARTS.iter().find(|(start, _)| head.starts_with(start)) {
        return Some(kind);
    }
    match (head.get(..4), head.get(4..8), head.get(8..12)) {
        (Some(b"RIFF"), _, Some(b"WEBP")) => Some("image/webp"),
        (Some(b"RIFF"), _, Some(b"WAVE")) => Some("audio/wav"),
        (Some(b"RIFF"), _, Some(b"AVI ")) => Some("video/x-msvideo"),
        (_, Some(b"ftyp"), Some(b"avif")) => Some("image/avif"),
        (_, Some(b"ftyp"), Some(b"qt  ")) => Some("video/quicktime"),
        (_, Some(b"ftyp"), Some(b"M4A ")) => Some("audio/mp4"),
        (_, Some(b"ftyp"), Some(_)) => Some("video/mp4"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_video_under_the_images_key_is_a_video() {
        assert_eq!(by_name("clip_00001_.mp4"), (OutputKind::Video, "video/mp4"));
        assert_eq!(by_name("no_extension"), (OutputKind::File, "application/octet-stream"));
    }

    #[test]
    fn first_bytes_beat_a_lying_name_only_where_they_tell() {
        assert_eq!(by_bytes(b"RIFF\x10\0\0\0WEBPVP8 "), Some("image/webp"));
        assert_eq!(by_bytes(b"\0\0\0\x20ftypisom\0\0\0\0"), Some("video/mp4"));
        assert_eq!(by_bytes(b"hello"), None);
        assert_eq!(by_bytes(b""), None);
    }
}
