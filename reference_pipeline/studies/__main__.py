"""Studies: ``python -m reference_pipeline.studies [NAME ...]``; each writes NAME.csv, NAME.svg and NAME.png.

epochs         score by number of adaptation epochs: score-first (legal) against score-last (a violation)
learning_rate  the violation by learning rate and by how many blocks are frozen, on the scored text and on a fresh one
void           does the void fraction (share of small weights) notice memorization?
budget         where the artifact's bytes go
floor          every way of scoring against the entropy of the text: what no honest score can beat
One small model is trained (seed 1337, one thread) and every study starts from a copy of it.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from reference_pipeline.errors import PipelineError
from reference_pipeline.studies.accounts import BUDGET_STUDY, FLOOR_STUDY
from reference_pipeline.studies.adaptation import EPOCH_STUDY, LEARNING_RATE_STUDY, VOID_STUDY
from reference_pipeline.studies.bench import Bench, read_rows, save_plot, write_rows

STUDIES = {
    "epochs": EPOCH_STUDY,
    "learning_rate": LEARNING_RATE_STUDY,
    "void": VOID_STUDY,
    "budget": BUDGET_STUDY,
    "floor": FLOOR_STUDY,
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m reference_pipeline.studies", description="Run studies, write plots and figures."
    )
    parser.add_argument("studies", nargs="*", metavar="NAME", help=f"any of {', '.join(STUDIES)}; all when left out")
    parser.add_argument("--output", type=Path, default=Path("runs") / "studies")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where the toy data set lies or goes")
    parser.add_argument("--seed", type=int, default=1337, help="of the model's training")
    parser.add_argument("--redraw", action="store_true", help="plot the figures that are there, measure nothing")
    arguments = parser.parse_args()
    unknown = set(arguments.studies) - set(STUDIES)
    if unknown:
        sys.exit(f"error: no study called {', '.join(sorted(unknown))}; there are {', '.join(STUDIES)}")
    try:
        bench = Bench(arguments.data, arguments.seed)
        for name in arguments.studies or STUDIES:
            began = time.perf_counter()
            run_study(bench, name, arguments.output, arguments.redraw)
            print(f"{name}: {arguments.output / name}.svg in {time.perf_counter() - began:.0f} s", flush=True)
    except PipelineError as error:
        sys.exit(f"error: {error}")


def run_study(bench: Bench, name: str, output: Path, redraw: bool) -> None:
    """Measure and write the figures, unless they are to be taken as they are; write the plots."""
    study, table = STUDIES[name], output / f"{name}.csv"
    if not redraw:
        write_rows(table, study.columns, study.measure(bench))
    save_plot(study.draw(bench, read_rows(table, study.columns)), output / name)


if __name__ == "__main__":
    main()
