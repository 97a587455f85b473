//! Tickets for uploads, links, deletion: outside and inside the container.

use backend_api::wechat::Platform;
use backend_api::wechat::storage::{StorageError, Upload, UploadTicket};
use reqwest::multipart::{Form, Part};

use crate::world::World;

const BYTES: &[u8] = b"bytes of a picture";

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

/// Uses a ticket as the gateway does; the status.
async fn upload(ticket: &UploadTicket) -> u16 {
    let request = match &ticket.upload {
        Upload::Put { headers } => headers
            .iter()
            .fold(client().put(ticket.url.clone()), |request, (name, value)| request.header(name, value))
            .body(BYTES),
        Upload::Form { fields } => {
            let form = fields
                .iter()
                .fold(Form::new(), |form, (name, value)| form.text(name.clone(), value.clone()))
                .part("file", Part::bytes(BYTES).file_name("a.png").mime_str("image/png").unwrap());
            client().post(ticket.url.clone()).multipart(form)
        }
    };
    request.send().await.unwrap().status().as_u16()
}

async fn round_trip(world: &World, platform: &Platform) {
    let paths = ["ai/a b.png".to_owned(), "ai/图.png".to_owned()];
    let tickets = platform.upload_tickets(&paths).await.unwrap();
    for (ticket, path) in tickets.iter().zip(&paths) {
        let status = upload(ticket).await;
        assert!((200..300).contains(&status), "{status}");
        assert_eq!(world.sim.cos().object(path).unwrap().bytes, BYTES, "{path}");
    }
    let ids: Vec<String> = tickets.iter().map(|ticket| ticket.file_id.clone()).collect();
    for link in platform.download_links(&ids).await.unwrap() {
        assert_eq!(client().get(link).send().await.unwrap().bytes().await.unwrap(), BYTES);
    }
    platform.delete_files(&ids).await.unwrap();
    platform.delete_files(&ids).await.unwrap();
    assert!(world.sim.cos().keys().is_empty());
}

#[tokio::test]
async fn files_are_uploaded_linked_and_deleted_from_outside() {
    let world = World::new().await;
    round_trip(&world, &world.platform).await;
    let gone = [format!("cloud://prod-sim.{}/ai/none.png", world.sim.config().bucket)];
    assert!(matches!(world.platform.download_links(&gone).await, Err(StorageError::NotFound)));
}

#[tokio::test]
async fn files_are_uploaded_linked_and_deleted_inside_the_container() {
    let world = World::new().await;
    let inside = world.inside();
    round_trip(&world, &inside).await;
    let twice = inside.upload_tickets(&["ai/once.png".to_owned()]).await.unwrap();
    assert_eq!((upload(&twice[0]).await, upload(&twice[0]).await), (200, 409));
}
