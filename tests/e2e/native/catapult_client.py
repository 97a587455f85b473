"""comfy-catapult: reconnects its socket now and then; what it believes is queue and history."""
import asyncio
import json
import sys

from comfy_catapult.api_client import ComfyAPIClient
from comfy_catapult.catapult import ComfyCatapult


async def run(catapult, workflow, tries=5):
    """Its polls may come upon a job that it has not posted yet, and give it up: that is a fault of its own."""
    for turn in range(tries):
        try:
            return await catapult.Catapult(job_id=str(turn), prepared_workflow=workflow, important=["2"])
        except Exception as error:
            if "we should have a ticket" not in str(error) or turn + 1 == tries:
                raise


async def main(base, path):
    with open(path, encoding="utf-8") as file:
        workflow = json.load(file)
    async with ComfyAPIClient(base) as client:
        stats = await client.GetSystemStats()
        assert stats.devices, stats
        # Its typed form does not know the classes of a current ComfyUI, the real one's neither.
        classes = await client.GetObjectInfoRaw()
        assert "SaveImage" in classes and "EmptyImage" in classes
        async with ComfyCatapult(client, debug_path=None) as catapult:
            history = await run(catapult, workflow)
        [image] = history["outputs"]["2"]["images"]
        listed = await client.GetHistory(prompt_id=history["prompt"][1])
        assert listed.root[history["prompt"][1]].status.completed
        assert (await client.GetQueue()).queue_running == []
        await client.PostFree(unload_models=True, free_memory=True)
        picture = await client.GetView(folder_type=image["type"], subfolder=image["subfolder"], filename=image["filename"])
        assert picture.startswith(b"\x89PNG")


asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), timeout=60))
