//! Files by name: uploads, views, what pickers offer.

use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::World;
use crate::world::picture;

fn png(color: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let pixels = vec![color; 8 * 8 * 4];
    let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    image::ImageEncoder::write_image(encoder, &pixels, 8, 8, image::ExtendedColorType::Rgba8).unwrap();
    bytes
}

async fn upload(world: &World, path: &str, form: Form) -> (StatusCode, Value) {
    let response = world.request(Method::POST, path).multipart(form).send().await.unwrap();
    (response.status(), response.json().await.unwrap_or_default())
}

fn form(name: &str, bytes: Vec<u8>) -> Form {
    Form::new().part("image", Part::bytes(bytes).file_name(name.to_owned()))
}

#[tokio::test]
async fn an_upload_keeps_its_name_unless_other_bytes_have_it() {
    let world = World::with(vec![], "").await;
    let send = async |form: Form| upload(&world, "/upload/image", form).await;
    let named = |name: &str, subfolder: &str, kind: &str| {
        (StatusCode::OK, json!({"name": name, "subfolder": subfolder, "type": kind}))
    };
    assert_eq!(send(form("a.png", png(1))).await, named("a.png", "", "input"));
    assert_eq!(send(form("a.png", png(1))).await, named("a.png", "", "input"), "the same bytes");
    assert_eq!(send(form("a.png", png(2))).await, named("a (1).png", "", "input"));
    // Some clients send it as a file (CLIENTS §4.11).
    let overwrite =
        form("a.png", png(3)).part("overwrite", Part::bytes(b"true".to_vec()).file_name("overwrite"));
    assert_eq!(send(overwrite).await, named("a.png", "", "input"));
    let below = form("b.png", png(1)).text("subfolder", "x/y").text("type", "temp");
    assert_eq!(send(below).await, named("b.png", "x/y", "temp"));
    let viewed = world.get("/view?filename=a.png&type=input").await;
    assert_eq!(viewed.bytes().await.unwrap(), png(3));
    assert_eq!(world.get("/view?filename=b.png&type=temp&subfolder=x/y").await.status(), StatusCode::OK);
    assert_eq!(
        world.get("/view?filename=b.png&type=input&subfolder=x/y").await.status(),
        StatusCode::NOT_FOUND
    );
    for bad in [
        form("../../evil.png", png(1)),
        form("", png(1)),
        form("x.png", png(1)).text("subfolder", "../../x"),
        form("x.png", png(1)).text("subfolder", "/srv"),
        form("x.png", png(1)).text("type", "bogus"),
        Form::new().part("file", Part::bytes(png(1)).file_name("x.png")),
    ] {
        assert_eq!(send(bad).await.0, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn an_uploaded_picture_is_read_by_name_on_every_instance() {
    let world = World::with(vec![Default::default(), Default::default()], "").await;
    world.usable().await;
    upload(&world, "/api/upload/image", form("in.png", png(200)).text("subfolder", "sub")).await;
    for n in 0..4 {
        let workflow = json!({
            "1": {"class_type": "LoadImage", "inputs": {"image": "sub/in.png"}},
            "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
            "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": format!("n{n}")}},
        });
        let id = world.prompt(workflow, None).await;
        assert_eq!(world.entry(&id).await["status"]["status_str"], "success");
    }
    let offered = world.get_json("/object_info/LoadImage").await;
    let choices = offered["LoadImage"]["input"]["required"]["image"].to_string();
    assert!(choices.contains("sub/in.png"), "{choices}");
}

#[tokio::test]
async fn a_view_is_whole_a_part_known_already_or_something_smaller() {
    let world = World::start().await;
    let id = world.prompt(picture(0x10_20_30), None).await;
    world.entry(&id).await;
    let path = "/view?filename=pic_00001_.png";
    let whole = world.get(path).await;
    let etag = whole.headers()["etag"].clone();
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    let bytes = whole.bytes().await.unwrap();
    let part = world.request(Method::GET, path).header("range", "bytes=1-3").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.bytes().await.unwrap(), bytes[1..=3]);
    let known = world.request(Method::GET, path).header("if-none-match", etag).send().await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    let head = world.request(Method::HEAD, path).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], bytes.len().to_string());
    for (query, kind) in [
        ("&preview=webp;90", "image/webp"),
        ("&preview=jpeg;50", "image/jpeg"),
        ("&preview=png", "image/webp"),
        ("&channel=rgb", "image/png"),
        ("&channel=a", "image/png"),
        ("&channel=rgba", "image/png"),
    ] {
        let view = world.get(&format!("{path}{query}")).await;
        assert_eq!(view.headers()["content-type"], kind, "{query}");
    }
    for (path, status) in [
        ("/view?filename=nope.png", 404),
        ("/view?type=output", 404),
        ("/view?filename=", 400),
        ("/view?filename=../input/example.png", 400),
        ("/view?filename=a..b.png", 400),
        ("/view?filename=x.png&type=bogus", 400),
        ("/view?filename=x.png&subfolder=../../etc", 403),
    ] {
        assert_eq!(world.get(path).await.status().as_u16(), status, "{path}");
    }
    assert_eq!(
        world.get("/view?filename=pic_00001_.png%20[output]&type=input").await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_mask_is_laid_over_the_picture_it_names() {
    let world = World::with(vec![], "").await;
    upload(&world, "/upload/image", form("photo.png", png(255))).await;
    let original = json!({"filename": "photo.png", "subfolder": "", "type": "input"}).to_string();
    let mask = form("mask.png", png(40)).text("original_ref", original).text("subfolder", "clipspace");
    let (status, named) = upload(&world, "/upload/mask", mask).await;
    assert_eq!((status, &named["subfolder"]), (StatusCode::OK, &json!("clipspace")));
    let masked =
        world.get("/view?filename=mask.png&subfolder=clipspace&type=input").await.bytes().await.unwrap();
    let pixel = image::load_from_memory(&masked).unwrap().to_rgba8().get_pixel(1, 1).0;
    assert_eq!(pixel, [255, 255, 255, 40]);
}

#[tokio::test]
async fn node_classes_are_the_union_over_the_fleet_and_are_sent_packed_and_once() {
    let with =
        |model: &str| comfyui_sim::Config { checkpoints: vec![model.to_owned()], ..Default::default() };
    let world = World::with(vec![with("a.safetensors"), with("b.safetensors")], "").await;
    world.usable().await;
    crate::world::until("both are known", || async {
        let models = world.get_json("/models/checkpoints").await;
        (models == json!(["a.safetensors", "b.safetensors"])).then_some(())
    })
    .await;
    let loader = world.get_json("/object_info/CheckpointLoaderSimple").await.to_string();
    assert!(loader.contains("a.safetensors") && loader.contains("b.safetensors"), "{loader}");
    let plain = world.get("/object_info").await;
    let etag = plain.headers()["etag"].clone();
    let plain: Value = plain.json().await.unwrap();
    assert!(plain.get("SaveImage").is_some());
    let packed = world
        .request(Method::GET, "/api/object_info")
        .header("accept-encoding", "gzip")
        .send()
        .await
        .unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let mut unpacked = String::new();
    let packed = packed.bytes().await.unwrap();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed[..]), &mut unpacked).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&unpacked).unwrap(), plain);
    let known =
        world.request(Method::GET, "/object_info").header("if-none-match", etag).send().await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(world.get_json("/object_info/Nope").await, json!({}));
    assert_eq!(world.get("/models/nope").await.status(), StatusCode::NOT_FOUND);
    let stats = world.get_json("/system_stats").await;
    assert_eq!(stats["devices"].as_array().unwrap().len(), 2, "one entry a device");
    for member in ["name", "type", "index", "vram_total", "vram_free", "torch_vram_total", "torch_vram_free"]
    {
        assert!(stats["devices"][1].get(member).is_some(), "{member}: {stats}");
    }
    assert_eq!(stats["system"]["os"], "linux");
}

#[tokio::test]
async fn what_is_the_same_for_everybody_is_there_bare_and_under_api() {
    let world = World::with(vec![], "").await;
    for (path, expected) in [
        ("/users", json!({"storage": "server", "migrated": true})),
        ("/settings", json!({})),
        ("/i18n", json!({})),
        ("/workflow_templates", json!({})),
        ("/global_subgraphs", json!({})),
        ("/node_replacements", json!({})),
        ("/extensions", json!([])),
        ("/embeddings", json!([])),
        ("/history", json!({})),
        ("/queue", json!({"queue_running": [], "queue_pending": []})),
    ] {
        assert_eq!(world.get_json(path).await, expected, "{path}");
        assert_eq!(world.get_json(&format!("/api{path}")).await, expected, "/api{path}");
    }
    let subscribed = world.request(Method::PATCH, "/internal/logs/subscribe").send().await.unwrap();
    assert_eq!(subscribed.status(), StatusCode::OK);
    assert_eq!(world.get("/jobs").await.status(), StatusCode::NOT_FOUND, "only under /api");
    assert_eq!(world.get("/manager/version").await.status(), StatusCode::NOT_FOUND);
}
