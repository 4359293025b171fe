"""Claims of processes that have died."""

import subprocess
import sys

from stepwell.executors.claimants import is_dead, new_claimant


def test_a_claimant_is_dead_once_its_process_has_ended() -> None:
    program = "from stepwell.executors.claimants import new_claimant; print(new_claimant())"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert is_dead(shown.stdout.strip())
    assert not is_dead(new_claimant())


def test_a_claimant_of_another_machine_is_not_taken_for_dead() -> None:
    _, _, process = new_claimant().partition("/")
    assert not is_dead(f"another-machine/{process}")
    assert not is_dead("a claim of another version")
