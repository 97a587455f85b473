"""comfyapi: opens no socket, asks the history by itself."""
import sys
import tempfile

from comfyapi import ComfyAPIManager

base, workflow = sys.argv[1:]
manager = ComfyAPIManager()
manager.set_base_url(base)
manager.load_workflow(workflow)
prompt = manager.submit_workflow()
manager.wait_for_finish(prompt, poll_interval=0.2, max_wait_time=60)
url, name = manager.find_output(prompt, with_filename=True)
with tempfile.TemporaryDirectory() as folder:
    path = manager.download_output(url, save_path=folder, filename=name)
    with open(path or f"{folder}/{name}", "rb") as file:
        assert file.read().startswith(b"\x89PNG"), url
