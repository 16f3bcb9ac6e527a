"""Makes `ansible_collections.jotunheim.pve` importable, as Ansible does for its plugins."""

import sys
from pathlib import Path

COLLECTIONS = Path(__file__).parents[2] / "jotunheim" / "collections"
sys.path.insert(0, str(COLLECTIONS))
