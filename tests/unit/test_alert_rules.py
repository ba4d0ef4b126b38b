"""The alerts that are shipped speak of metrics that exist."""

import re
from pathlib import Path

from tokenrouter.model.record import RequestRecord
from tokenrouter.model.usage import Usage
from tokenrouter.observe.metrics import Metrics

RULES = Path(__file__).parents[2] / "deployments" / "prometheus" / "alerts.yml"


def test_every_metric_and_label_of_a_rule_is_one_that_is_served():
    metrics = Metrics([("openai", "gpt-4.1")], {})
    record = RequestRecord(id="r", time_ns=1, key_id="k", tenant="t", dialect="openai-chat", model_asked="m", vendor="openai", model="gpt-4.1")
    record.cache, record.usage, record.cache_break, record.cache_break_cost = "miss", Usage(cache_read=1, cache_write=1, fresh_input=1), "expired", 5
    metrics.add(record)
    text = metrics.render().decode()
    rules = re.sub(r"#.*", "", RULES.read_text())
    used = re.findall(r"(tokenrouter_\w+)\{([^}]*)\}", rules)
    assert len(used) >= 8
    for name, selector in used:
        samples = [line for line in text.splitlines() if line.startswith(name + "{")]
        assert samples, f"{name} is not served"
        for label in re.findall(r'(\w+)=~?"', selector):
            assert f'{label}="' in samples[0], f"{name} has no {label}"
    for bucket in set(re.findall(r'bucket=~?"([^"]+)"', rules)):
        assert all(f'bucket="{each}"' in text for each in bucket.split("|"))
    for labels in re.findall(r"sum by \(([^)]*)\)", rules):
        assert set(labels.split(", ")) <= {"vendor", "model", "cause"}
