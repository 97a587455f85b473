//! What each node class does.

mod generate;
mod sample;
mod save;
pub(crate) mod test_nodes;
mod transform;
mod value;

use serde_json::{Map, Value, json};

use crate::worker::job::Job;
pub(crate) use value::{Computed, Data, Inputs};

/// Why a node did not finish.
#[derive(Debug)]
pub(crate) enum Failure {
    /// `/interrupt` got it.
    Interrupted,
    /// It raised.
    Raised { kind: &'static str, message: String },
}

impl Failure {
    pub(crate) fn raised(kind: &'static str, message: impl Into<String>) -> Failure {
        Failure::Raised { kind, message: message.into() }
    }

    /// Out of memory, as PyTorch words it.
    pub(crate) fn out_of_memory(legacy_name: bool) -> Failure {
        let kind = if legacy_name { "torch.cuda.OutOfMemoryError" } else { "torch.OutOfMemoryError" };
        Failure::raised(
            kind,
            "Allocation on device 0 would exceed allowed memory. (out of memory)\nCurrently allocated     : 12.41 \
             GiB\nRequested               : 4.50 GiB\nDevice limit            : 14.56 GiB\nFree (according to CUDA): \
             24.81 MiB\nPyTorch limit (set by user-supplied memory fraction)\n                        : 17179869184.00 \
             GiB\n",
        )
    }

    /// A fault of the card, after which a real process answers but cannot compute.
    pub(crate) fn cuda_fault() -> Failure {
        Failure::raised(
            "torch.AcceleratorError",
            "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be asynchronously reported \
             at some other API call, so the stacktrace below might be incorrect.\n",
        )
    }
}

/// What a node made: outputs by slot, and UI output if it has any.
pub(crate) type Outcome = Result<(Vec<Data>, Option<Map<String, Value>>), Failure>;

/// Plain outputs, no UI.
fn plain(outputs: Vec<Data>) -> Outcome {
    Ok((outputs, None))
}

/// Outputs with UI output.
fn with_ui(outputs: Vec<Data>, ui: Value) -> Outcome {
    let ui = match ui {
        Value::Object(ui) => ui,
        other => Map::from_iter([("value".to_owned(), json!([other]))]),
    };
    Ok((outputs, Some(ui)))
}

/// Runs one node. Classes not listed pass time and hand on opaque values of the right number.
pub(crate) async fn execute(job: &mut Job, node: &str, class: &str, inputs: &Inputs) -> Outcome {
    match class {
        "CheckpointLoaderSimple"
        | "CheckpointLoader"
        | "UNETLoader"
        | "VAELoader"
        | "CLIPLoader"
        | "DualCLIPLoader"
        | "ControlNetLoader"
        | "UpscaleModelLoader"
        | "LoraLoader"
        | "LoraLoaderModelOnly" => sample::load(job, class, inputs).await,
        "CLIPTextEncode"
        | "CLIPTextEncodeSDXL"
        | "GwConditioning"
        | "ConditioningCombine"
        | "ConditioningConcat"
        | "ConditioningZeroOut"
        | "ControlNetApply"
        | "FluxGuidance" => sample::condition(inputs),
        "ControlNetApplyAdvanced" => sample::condition_pair(inputs),
        "KSampler" | "KSamplerAdvanced" | "SamplerCustomAdvanced" => sample::sample(job, node, inputs).await,
        "VAEDecode" | "VAEDecodeTiled" | "GwLatentToImage" => sample::decode(inputs),
        "VAEEncode" | "VAEEncodeForInpaint" => sample::encode(inputs),
        "EmptyLatentImage" | "EmptySD3LatentImage" => generate::empty_latent(inputs),
        "EmptyImage" | "StubConstantImage" | "StubImage" => generate::empty_image(inputs),
        "StubMask" | "EmptyAudio" => plain(vec![Data::Literal(inputs.literal("value").clone())]),
        "PrimitiveString"
        | "PrimitiveStringMultiline"
        | "PrimitiveInt"
        | "PrimitiveFloat"
        | "PrimitiveBoolean" => plain(vec![Data::Literal(inputs.literal("value").clone())]),
        "RandomNoise" => plain(vec![Data::Literal(inputs.literal("noise_seed").clone())]),
        "BasicScheduler" => plain(vec![Data::Literal(inputs.literal("steps").clone())]),
        "BasicGuider" => plain(vec![inputs.data("conditioning")]),
        "LoadImage" | "LoadImageMask" | "LoadImageOutput" => generate::load_image(job, inputs),
        "ImageScale"
        | "ImageScaleBy"
        | "ImageInvert"
        | "ImageAddNoise"
        | "ImageUpscaleWithModel"
        | "LatentUpscale"
        | "LatentUpscaleBy"
        | "CreateVideo" => transform::transform(class, inputs),
        "GetImageSize" => transform::image_size(job, node, inputs),
        "SaveImage" | "PreviewImage" => save::images(job, class, inputs),
        "SaveImageWebsocket" => save::websocket(job, node, inputs).await,
        "SaveAnimatedWEBP" | "SaveAnimatedPNG" | "SaveVideo" | "SaveAudio" | "SaveText" | "SaveLatent" => {
            save::other(job, class, inputs)
        }
        "PreviewAny" => {
            with_ui(vec![inputs.data("source")], json!({"text": [inputs.data("source").to_text()]}))
        }
        _ if test_nodes::knows(class) => test_nodes::execute(job, node, class, inputs).await,
        _ => plain(Vec::new()),
    }
}
