"""Write the table by which weights of torchvision's architectures are recognised: `python -m scripts.make_fingerprints`."""

from __future__ import annotations

import json

from core.models.torchvision_names import ARCHITECTURES
from core.networks.recognise import TABLE, fingerprint


def main() -> None:
    rows = [f"{json.dumps(name)}: {json.dumps(fingerprint(name))}" for name in ARCHITECTURES]
    TABLE.write_text("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    main()
