"""The record on disk: its layout, its schema version, crash-safe writing, and reading.

    OUT/bench.json                     the schema version of everything below
    OUT/.lock-<number>                 held by the one run that writes; see `lease`
    OUT/.checksums                     of large files, so that the next command need not hash them
    OUT/cells/<cell_id>/cell.json      written when a cell ends, whether it went well or not
    OUT/cells/<cell_id>/<stage>.json   one of STAGES, or FOLDER/KEY; its files beside it

A stage's files come first and its JSON last, with the SHA-256 of the files and of itself. So a
stage that is half-written, cut short or changed later reads as missing, and is simply done again.
What a record holds is in `benchmark.results.records`.
"""

from benchmark.portable import dataset_name as dataset_name
from benchmark.portable import without_folders as without_folders
from benchmark.results.failed import damaged_stages as damaged_stages
from benchmark.results.failed import failed_stages as failed_stages
from benchmark.results.files import TEMPORARY as TEMPORARY  # these for the writers of reports
from benchmark.results.files import Record as Record
from benchmark.results.files import Writer as Writer
from benchmark.results.files import check_target as check_target
from benchmark.results.files import make_folder as make_folder
from benchmark.results.files import make_root as make_root
from benchmark.results.files import npz_writer as npz_writer
from benchmark.results.files import open_plain as open_plain
from benchmark.results.files import read_plain as read_plain
from benchmark.results.files import sweep as sweep
from benchmark.results.files import write_text as write_text
from benchmark.results.identity import CHECKS_VERSION as CHECKS_VERSION
from benchmark.results.identity import PROTOCOL_VERSION as PROTOCOL_VERSION
from benchmark.results.identity import SCHEMA_VERSION as SCHEMA_VERSION
from benchmark.results.identity import fits as fits
from benchmark.results.identity import protocol_of as protocol_of
from benchmark.results.layout import STAGES as STAGES
from benchmark.results.store import Store as Store
