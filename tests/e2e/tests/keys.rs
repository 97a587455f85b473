//! Keys and tenants: who may enter, and what they see.

use anyhow::{Context as _, ensure};
use comfyui_sim::Device;
use e2e::api::id_of;
use e2e::pictures;
use e2e::program;
use e2e::sandbox::Sandbox;
use e2e::wait::{self, SOON};
use e2e::workflows;
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn once_a_key_exists_only_keys_open_the_door_and_a_revoked_one_does_not() -> anyhow::Result<()> {
    let sandbox = Sandbox::plan().keyed().gpu(Device::t4()).start().await?;
    let key = sandbox.new_key("acme", "submit").await?;
    let nobody = sandbox.api().without_key();
    for path in ["/livez", "/readyz", "/api/v2/health"] {
        nobody.get(path).await?.expect(200)?;
    }
    for path in ["/api/v2/jobs", "/v1/jobs", "/v1/fleet", "/metrics"] {
        ensure!(nobody.get(path).await?.status == 401, "{path} is open");
        ensure!(nobody.with_key("dk_wrong").get(path).await?.status == 401, "{path} takes any key");
    }
    let refused = nobody.post("/api/v2/jobs", &json!({"workflow": workflows::plain(1, 8)})).await?;
    ensure!(refused.status == 401 && refused.code() == "unauthorized", "{refused:?}");

    let acme = nobody.with_key(&key);
    acme.get("/api/v2/jobs").await?.expect(200)?;
    acme.succeeded(&acme.submit(&workflows::plain(1, 8)).await?).await?;
    let refused = acme.get("/v1/fleet").await?.expect(403)?;
    ensure!(refused.code() == "forbidden", "{refused:?}");

    let listed = String::from_utf8(sandbox.key(&["list"]).await?.stdout)?;
    ensure!(!listed.contains(&key), "the list shows the key itself");
    let line = listed.lines().find(|line| line.contains("acme")).context("the key is not listed")?;
    let id = line.split_whitespace().next().context("an empty line")?.to_owned();
    let revoked = sandbox.key(&["revoke", &id]).await?;
    ensure!(revoked.status.success(), "{revoked:?}");
    wait::until("the key to be refused", SOON, async || {
        Ok((acme.get("/api/v2/jobs").await?.status == 401).then_some(()))
    })
    .await?;
    let listed = String::from_utf8(sandbox.key(&["list"]).await?.stdout)?;
    ensure!(listed.lines().any(|line| line.starts_with(&id) && line.contains("revoked")), "{listed}");
    ensure!(!sandbox.key(&["revoke", "no-such-key"]).await?.status.success(), "revoked a key of nobody");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_key_reads_and_does_nothing_else() -> anyhow::Result<()> {
    let sandbox = Sandbox::plan().keyed().gpu(Device::t4()).start().await?;
    let reader = sandbox.new_key("acme", "read").await?;
    let reader = sandbox.api().with_key(&reader);
    wait::until("the new key to be taken", SOON, async || {
        Ok((reader.get("/api/v2/jobs").await?.status == 200).then_some(()))
    })
    .await?;
    let body = json!({"workflow": workflows::plain(1, 8)});
    for path in ["/api/v2/jobs", "/v1/jobs"] {
        reader.post(path, &body).await?.expect(403)?;
    }
    ensure!(sandbox.posts() == 0, "it submitted");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_never_meet() -> anyhow::Result<()> {
    let sandbox = Sandbox::plan().keyed().gpu(Device::t4()).start().await?;
    let ours = sandbox.api().with_key(&sandbox.new_key("ours", "submit").await?);
    let theirs = sandbox.api().with_key(&sandbox.new_key("theirs", "submit").await?);
    for api in [&ours, &theirs] {
        wait::until("the new key to be taken", SOON, async || {
            Ok((api.get("/api/v2/jobs").await?.status == 200).then_some(()))
        })
        .await?;
    }
    let id = ours.submit(&workflows::plain(5, 8)).await?;
    let job = ours.succeeded(&id).await?;
    let output = id_of(&job["outputs"][0])?;
    let bytes = ours.only_output(&job).await?;
    let asset = ours.upload("photo.png", "image/png", &bytes).await?;
    let asset = id_of(&asset)?;

    for path in [
        format!("/api/v2/jobs/{id}"),
        format!("/api/v2/jobs/{id}/events"),
        format!("/api/v2/jobs/{id}/workflow"),
        format!("/v1/jobs/{id}"),
        format!("/v1/jobs/{id}/explain"),
        format!("/api/v2/assets/{asset}"),
        format!("/api/v2/assets/{asset}/content"),
        format!("/api/v2/assets/{output}/content"),
    ] {
        ensure!(theirs.get(&path).await?.status == 404, "they see {path}");
        ensure!(ours.get(&path).await?.status == 200, "we do not see {path}");
    }
    theirs.post(&format!("/api/v2/jobs/{id}/cancel"), &json!({})).await?.expect(404)?;
    let delete = theirs.request(Method::DELETE, &format!("/api/v2/assets/{asset}"));
    theirs.send(delete).await?.expect(404)?;
    let list = theirs.get("/api/v2/jobs").await?.expect(200)?.json()?;
    ensure!(list["jobs"] == json!([]), "{list}");
    for id in [asset, output] {
        let body = json!({"workflow": workflows::negative(&workflows::asset(id))});
        let refused = theirs.post("/api/v2/jobs", &body).await?.expect(422)?;
        ensure!(refused.code() == "missing_asset", "{refused:?}");
    }
    let hash = pictures::hash(&bytes);
    let head = |api: &e2e::api::Api| api.request(Method::HEAD, &format!("/api/v2/assets/by-hash/{hash}"));
    theirs.send(head(&theirs)).await?.expect(404)?;
    ours.send(head(&ours)).await?.expect(200)?;
    let mint = json!({"hash": hash});
    let refused = theirs.post("/api/v2/assets/from-hash", &mint).await?.expect(404)?;
    ensure!(refused.code() == "blob_not_found", "{refused:?}");

    // The same idempotency key of two tenants is two keys.
    let body = json!({"workflow": workflows::plain(6, 8)});
    for api in [&ours, &theirs] {
        api.post_once("/api/v2/jobs", &body, "the same").await?.expect(201)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_the_gateway_serves_this_machine_only() -> anyhow::Result<()> {
    let sandbox = Sandbox::plan().gpu(Device::t4()).start().await?;
    let api = sandbox.api();
    for (header, value) in [("origin", "https://evil.example"), ("host", "evil.example")] {
        let answer = api.send(api.request(Method::GET, "/api/v2/jobs").header(header, value)).await?;
        ensure!(answer.status == 403, "{header}: {answer:?}");
    }
    let data = tempfile::tempdir()?;
    let refused = program::command("gateway", &["serve"])?
        .env("GATEWAY_LISTEN", format!("0.0.0.0:{}", program::free_port()?))
        .env("GATEWAY_DATA_DIR", data.path())
        .output();
    let refused = tokio::time::timeout(SOON, refused).await.context("it serves everybody")??;
    ensure!(!refused.status.success(), "{refused:?}");
    ensure!(String::from_utf8_lossy(&refused.stderr).contains("gateway key create"), "{refused:?}");
    Ok(())
}
