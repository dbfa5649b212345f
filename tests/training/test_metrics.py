"""The metrics log, the rejection of outliers, averaged weights."""
import pytest
import torch

from svconv.training.metrics import AveragedWeights, MetricsLog, OutlierRejection


def test_the_log_survives_a_cut_line_and_rewinds(tmp_path):
    log = MetricsLog(tmp_path / "m.jsonl")
    assert log.read() == []
    for step in (10, 20, 30):
        log.write(step=step, error=step / 100)
    with open(log.path, "a") as file:
        file.write('{"step": 40, "err')
    assert [r["step"] for r in log.read()] == [10, 20, 30]
    log.rewind(20)
    log.write(step=25)
    assert [r["step"] for r in log.read()] == [10, 20, 25]


def test_errors_above_ten_times_the_running_mean_are_left_out():
    reject = OutlierRejection()
    assert reject(torch.tensor([1.0, 3.0])).tolist() == [True, True] and reject.mean == 2.0
    assert reject(torch.tensor([19.9, 20.1, float("nan"), float("inf")])).tolist() == [True, False, False, False]
    assert reject.rejected == 3 and 2 < reject.mean < 19.9
    again = OutlierRejection()
    again.load_state_dict(reject.state_dict())
    assert again.state_dict() == reject.state_dict()
    mean = reject.mean
    assert not reject(torch.tensor([1e9])).any() and reject.mean == mean


def test_averaged_weights():
    model = torch.nn.Linear(1, 1, bias=False)
    average = AveragedWeights(model, 0.9)
    start = float(model.weight.detach())
    with torch.no_grad():
        model.weight += 1
    average.update(model)
    average.copy_to(model)
    assert float(model.weight.detach()) == pytest.approx(start + 0.5)
