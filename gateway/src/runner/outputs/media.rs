//! Kinds and media types of files by extension, for listings (PROTOCOL §4: never by key). What is stored is looked at:
//! [`crate::pictures::sniff`].

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_video_under_the_images_key_is_a_video() {
        assert_eq!(by_name("clip_00001_.mp4"), (OutputKind::Video, "video/mp4"));
        assert_eq!(by_name("no_extension"), (OutputKind::File, "application/octet-stream"));
    }
}
