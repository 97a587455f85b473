"""The packet that all three write."""

import html
import json

VALUE = {
    "Label": "1",
    "ContentProducer": "001191310000MA1FL0000X00000",
    "ProduceID": "job-0190f3c2-7d6e-7c11-9a51-3f2b8c1d2e4f-0",
    "ReservedCode1": "",
    "ContentPropagator": "001191310000MA1FL0000X00000",
    "PropagateID": "job-0190f3c2-7d6e-7c11-9a51-3f2b8c1d2e4f-0",
    "ReservedCode2": "",
}
PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
    ' xmlns:TC260="http://www.tc260.org.cn/ns/AIGC/1.0/"><TC260:AIGC>'
    + html.escape(json.dumps(VALUE, separators=(",", ":")), quote=True)
    + '</TC260:AIGC></rdf:Description></rdf:RDF></x:xmpmeta>\n<?xpacket end="w"?>'
)
