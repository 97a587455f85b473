"""comfy-api-simplified: posts, then opens its socket."""
import sys

from comfy_api_simplified import ComfyApiWrapper, ComfyWorkflowWrapper

base, workflow = sys.argv[1:]
images = ComfyApiWrapper(base).queue_and_wait_images(ComfyWorkflowWrapper(workflow), "Save")
assert len(images) == 1, images
for name, content in images.items():
    assert content.startswith(b"\x89PNG"), name
