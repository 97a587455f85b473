//! Which paths are files of the editor, and of which type.

/// Folders of the editor's files: those of the frontend, of custom nodes' scripts, of help and of templates.
const FOLDERS: [&str; 9] =
    ["assets", "cursor", "docs", "extensions", "fonts", "lib", "scripts", "templates", "workflow_templates"];

/// Type of a file by its name; `None`: not one that an editor has.
pub(super) fn content_type(name: &str) -> Option<&'static str> {
    let (stem, extension) = name.rsplit('/').next()?.rsplit_once('.')?;
    let known = match extension {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "wasm" => "application/wasm",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "mp3" => "audio/mpeg",
        "wav" => "audio/wav",
        "txt" | "md" => "text/plain; charset=utf-8",
        "eot" | "glb" | "gltf" | "hdr" | "bin" => "application/octet-stream",
        _ => return None,
    };
    (!stem.is_empty()).then_some(known)
}

/// Whether a path may be asked of an instance as one of the editor's files. Everything else that an instance has there,
/// its API and that of its custom nodes, is not.
pub(super) fn is_editors(path: &str) -> bool {
    let Some(bare) = path.strip_prefix('/') else { return false };
    let bare = bare.strip_prefix("api/workflow_templates/").map_or(bare, |_| &bare["api/".len()..]);
    let parts: Vec<&str> = bare.split('/').collect();
    let are_plain = parts.iter().all(|part| !part.is_empty() && !part.starts_with('.'));
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\\?#".contains(&byte);
    let is_told = are_plain && bare.bytes().all(is_plain) && !escapes(bare);
    is_told
        && content_type(bare).is_some()
        && match parts.as_slice() {
            [_] => true,
            [first, ..] => FOLDERS.contains(first),
            [] => false,
        }
}

/// Whether dots, slashes, back-slashes, percent signs or control characters are written as escapes.
fn escapes(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    lower.split('%').skip(1).any(|after| {
        let Some(Ok(byte)) = after.get(..2).map(|pair| u8::from_str_radix(pair, 16)) else { return true };
        byte.is_ascii_control() || b"./\\%".contains(&byte)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_in_the_editors_folders_and_beside_its_page_are_its_own() {
        for own in [
            "/index.html",
            "/materialdesignicons.min.css",
            "/assets/index-DX1.js",
            "/extensions/my%20pack/js/widget.js",
            "/templates/index.zh.json",
            "/api/workflow_templates/pack/a.json",
            "/docs/KSampler/en.md",
        ] {
            assert!(is_editors(own), "{own}");
        }
        for other in [
            "/",
            "",
            "/assets",
            "/queue",
            "/prompt",
            "/internal/files/output",
            "/internal/logs.json",
            "/api/assets/a.json",
            "/api/userdata/a.json",
            "/userdata/a.json",
            "/my_node/a.json",
            "/extensions/../view.png",
            "/extensions/%2e%2e/view.png",
            "/extensions/a%2f..%2fview.png",
            "/extensions/a%5cview.png",
            "/extensions/.git/config.json",
            "/extensions//a.js",
            "/extensions/a.py",
            "/extensions/a.js/",
            "/.env.json",
            "/extensions/a%zz.js",
        ] {
            assert!(!is_editors(other), "{other}");
        }
    }
}
