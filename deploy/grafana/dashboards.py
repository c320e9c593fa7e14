#!/usr/bin/env python3
"""Writes the dashboards of deploy/grafana/dashboards, which are described here.

    deploy/grafana/dashboards.py            writes them
    deploy/grafana/dashboards.py --check    fails if they are not what this would write
    deploy/grafana/dashboards.py --rules    prints every query as a rule, for promtool
"""

import json
import pathlib
import sys

FOLDER = pathlib.Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
WIDTH, HEIGHT = 24, 8

# What the variables of a dashboard choose.
INSTANCE = 'instance=~"$instance"'
MODEL = INSTANCE + ', model=~"$model", version=~"$version"'
RATE = "[$__rate_interval]"


class Panel:
    """A panel: its title, its queries as (query, legend), and how it is drawn."""

    def __init__(self, title, *queries, unit="short", kind="timeseries", width=12, help=None, line_at=None,
                 low=None, high=None, stacked=False, steps=None):
        self.title, self.queries, self.unit, self.kind = title, queries, unit, kind
        self.width, self.help, self.line_at, self.low, self.high = width, help, line_at, low, high
        self.stacked, self.steps = stacked, steps

    def json(self, number, x, y):
        custom = {"lineWidth": 1, "fillOpacity": 15 if self.stacked else 0, "showPoints": "never"}
        if self.stacked:
            custom["stacking"] = {"mode": "normal"}
        defaults = {"unit": self.unit, "custom": custom if self.kind == "timeseries" else {}}
        if self.low is not None:
            defaults["min"] = self.low
        if self.high is not None:
            defaults["max"] = self.high
        steps = [{"color": "green", "value": None}]
        if self.line_at is not None:
            custom["thresholdsStyle"] = {"mode": "line"}
            steps.append({"color": "red", "value": self.line_at})
        for value, colour in self.steps or []:
            steps.append({"color": colour, "value": value})
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        if self.steps:
            defaults["color"] = {"mode": "thresholds"}
        targets = [
            {"refId": chr(ord("A") + place), "datasource": SOURCE, "expr": query, "legendFormat": legend,
             **({"instant": True, "range": False} if self.kind in ("stat", "table") else {})}
            for place, (query, legend) in enumerate(self.queries)
        ]
        options = {
            "timeseries": {"legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull"]},
                           "tooltip": {"mode": "multi", "sort": "desc"}},
            "stat": {"colorMode": "value", "textMode": "value_and_name",
                     "reduceOptions": {"calcs": ["lastNotNull"]}},
            "state-timeline": {"showValue": "never", "mergeValues": True, "legend": {"showLegend": True}},
        }[self.kind]
        return {
            "id": number, "title": self.title, "type": self.kind, "datasource": SOURCE,
            **({"description": self.help} if self.help else {}),
            "gridPos": {"x": x, "y": y, "w": self.width, "h": HEIGHT},
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "options": options, "targets": targets,
        }


def variable(name, query):
    return {
        "name": name, "label": name.capitalize(), "type": "query", "datasource": SOURCE,
        "query": {"query": query, "refId": name}, "definition": query, "refresh": 2, "sort": 3,
        "multi": True, "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"},
    }


def dashboard(uid, title, sections):
    """Puts panels into rows, from left to right; a section begins a row of its own."""
    panels, y = [], 0
    for name, members in sections:
        panels.append({"id": len(panels) + 1, "type": "row", "title": name, "collapsed": False, "panels": [],
                       "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}})
        x, y = 0, y + 1
        for panel in members:
            if x + panel.width > WIDTH:
                x, y = 0, y + HEIGHT
            panels.append(panel.json(len(panels) + 1, x, y))
            x += panel.width
        y += HEIGHT
    return {
        "uid": uid, "title": title, "tags": ["weir"], "schemaVersion": 39, "version": 1, "editable": False,
        "timezone": "browser", "refresh": "15s", "time": {"from": "now-1h", "to": "now"},
        "links": [{"title": "Weir", "type": "dashboards", "tags": ["weir"], "keepTime": True, "includeVars": True}],
        "templating": {"list": [
            variable("instance", "label_values(weir_build_info, instance)"),
            variable("model", "label_values(weir_model_info{" + INSTANCE + "}, model)"),
            variable("version", 'label_values(weir_model_info{' + INSTANCE + ', model=~"$model"}, version)'),
        ]},
        "annotations": {"list": [
            {"name": "Alerts", "enable": True, "iconColor": "red", "datasource": SOURCE,
             "expr": 'ALERTS{alertstate="firing", alertname=~"Weir.*"}', "titleFormat": "{{alertname}}",
             "textFormat": "{{model}} {{version}} {{stream}}", "step": "30s"},
            {"name": "Versions", "enable": True, "iconColor": "blue", "datasource": SOURCE,
             "expr": "changes(weir_model_info{" + INSTANCE + "}[1m]) or (weir_model_info{" + INSTANCE
                     + "} unless weir_model_info{" + INSTANCE + "} offset 1m)",
             "titleFormat": "{{model}} {{version}} serves", "step": "60s"},
        ]},
        "panels": panels,
    }


def quantile(q, family, labels, chosen):
    return f"histogram_quantile({q}, sum by ({labels}, le) (rate({family}_bucket{{{chosen}}}{RATE})))"


def rate(family, labels, chosen):
    return f"sum by ({labels}) (rate({family}{{{chosen}}}{RATE}))"


def of_model(family, more=""):
    return f"{family}{{{MODEL}{more}}}"


VERSION = "{{model}} {{version}}"
CLIENTS = MODEL + ', outcome!~"probe|explanation|guard"'

SERVICE = dashboard("weir-service", "Weir: service", [
    ("Requests", [
        Panel("Predictions by outcome",
              (rate("weir_inference_requests_total", "outcome", CLIENTS), "{{outcome}}"), unit="reqps", stacked=True),
        Panel("Predictions by version",
              (rate("weir_inference_requests_total", "model, version", CLIENTS), VERSION), unit="reqps"),
        Panel("Share of failures",
              ('model:weir_error_ratio:5m{model=~"$model", version=~"$version"}', VERSION + " 5 m"),
              ('model:weir_error_ratio:1h{model=~"$model", version=~"$version"}', VERSION + " 1 h"),
              unit="percentunit", low=0, line_at=0.001,
              help="Failures of the server, not refused input; the line is the objective of 99.9 %."),
        Panel("HTTP by protocol and status",
              (rate("weir_http_requests_total", "protocol, outcome", INSTANCE), "{{protocol}} {{outcome}}"),
              unit="reqps"),
        Panel("gRPC by protocol and status",
              (rate("weir_grpc_requests_total", "protocol, outcome", INSTANCE), "{{protocol}} {{outcome}}"),
              unit="reqps"),
        Panel("Connections", (f"weir_http_connections{{{INSTANCE}}}", "HTTP {{instance}}"),
              (f"weir_grpc_connections{{{INSTANCE}}}", "gRPC {{instance}}")),
    ]),
    ("Time", [
        Panel("Time of an answer over HTTP",
              (quantile(0.5, "weir_http_request_duration_seconds", "protocol", INSTANCE), "{{protocol}} median"),
              (quantile(0.99, "weir_http_request_duration_seconds", "protocol", INSTANCE), "{{protocol}} p99"),
              unit="s", low=0),
        Panel("Time of an answer over gRPC",
              (quantile(0.5, "weir_grpc_request_duration_seconds", "protocol", INSTANCE), "{{protocol}} median"),
              (quantile(0.99, "weir_grpc_request_duration_seconds", "protocol", INSTANCE), "{{protocol}} p99"),
              unit="s", low=0),
        Panel("p99 by stage",
              (quantile(0.99, "weir_inference_stage_duration_seconds", "model, version, stage", MODEL),
               VERSION + " {{stage}}"), unit="s", low=0),
        Panel("Model alone, one sample", (of_model("weir_model_single_run_seconds"), VERSION), unit="s", low=0,
              help="As measured on this machine when the version was loaded."),
    ]),
    ("Work", [
        Panel("Requests that wait", (of_model("weir_queue_depth"), VERSION), low=0),
        Panel("Requests under way", (of_model("weir_inference_in_flight"), VERSION), low=0),
        Panel("Samples in a run",
              (f"sum by (model, version) (rate(weir_inference_batch_size_sum{{{MODEL}}}{RATE}))"
               f" / sum by (model, version) (rate(weir_inference_batch_size_count{{{MODEL}}}{RATE}))",
               VERSION + " mean"),
              (of_model("weir_model_max_batch_size"), VERSION + " at most"), low=0),
        Panel("Response cache: share of hits",
              (f'sum by (model, version) (rate(weir_cache_requests_total{{{MODEL}, outcome="hit"}}{RATE}))'
               f" / sum by (model, version) (rate(weir_cache_requests_total{{{MODEL}}}{RATE}))", VERSION),
              unit="percentunit", low=0, high=1),
        Panel("Response cache: memory", (of_model("weir_cache_bytes"), VERSION), unit="bytes", low=0),
        Panel("Compute threads", (f"weir_compute_threads{{{INSTANCE}}}", "{{instance}}"),
              (f"increase(weir_hung_runs_total{{{INSTANCE}}}[1h])", "{{instance}} hung runs in 1 h"), low=0),
    ]),
    ("Process", [
        Panel("Processor", (f"rate(process_cpu_seconds_total{{{INSTANCE}}}{RATE})", "{{instance}}"), unit="short",
              low=0, help="Cores in use."),
        Panel("Memory", (f"process_resident_memory_bytes{{{INSTANCE}}}", "{{instance}}"), unit="bytes", low=0),
        Panel("Open files", (f"process_open_fds{{{INSTANCE}}}", "{{instance}}"),
              (f"process_max_fds{{{INSTANCE}}}", "{{instance}} at most"), low=0),
        Panel("Loads of versions",
              (f"sum by (model, outcome) (increase(weir_model_loads_total{{{INSTANCE}, model=~\"$model\"}}[5m]))",
               "{{model}} {{outcome}}"), low=0),
        Panel("State of versions", (of_model("weir_model_state"), VERSION), kind="state-timeline", width=24,
              steps=[(10, "yellow"), (30, "green"), (40, "orange"), (50, "red")],
              help="START 10, LOADING 20, AVAILABLE 30, UNLOADING 40, END 50."),
    ]),
])

QUALITY = dashboard("weir-quality", "Weir: quality and drift", [
    ("Quality", [
        Panel("Accuracy",
              (of_model("weir_model_accuracy", ', source="feedback"'), VERSION + " by labels"),
              (of_model("weir_model_accuracy_low", ', source="feedback"'), VERSION + " low"),
              (of_model("weir_model_accuracy_high", ', source="feedback"'), VERSION + " high"),
              (of_model("weir_model_accuracy", ', source="estimated"') + " and on (instance, model, version) "
               + of_model("weir_model_estimate_valid") + " == 1", VERSION + " estimated"),
              (of_model("weir_model_accuracy", ', source="test"'), VERSION + " on test data"),
              (of_model("weir_model_accuracy", ', source="probe"'), VERSION + " on the probe set"),
              unit="percentunit", high=1, help="The estimate is shown only while it holds."),
        Panel("Accuracy over all replicas",
              ('model:weir_accuracy:feedback{model=~"$model", version=~"$version"}', VERSION),
              unit="percentunit", high=1, help="Weighted by labels. Replicas that share a database show the same."),
        Panel("Labelled answers", (of_model("weir_model_samples"), VERSION + " {{source}}"), low=0),
        Panel("Share of answers whose truth is known", (of_model("weir_feedback_coverage"), VERSION),
              unit="percentunit", low=0, high=1),
        Panel("Loss", (of_model("weir_model_loss"), VERSION + " {{source}}"), low=0),
        Panel("Calibration error", (of_model("weir_model_calibration_error"), VERSION + " {{source}}"),
              unit="percentunit", low=0),
        Panel("Recall by class", (of_model("weir_model_class_recall"), VERSION + " {{class}}"), unit="percentunit",
              high=1),
        Panel("Precision by class", (of_model("weir_model_class_precision"), VERSION + " {{class}}"),
              unit="percentunit", high=1),
        Panel("Coverage of sets of classes",
              (of_model("weir_conformal_coverage"), VERSION + " at {{level}}"),
              (of_model("weir_conformal_coverage_high"), VERSION + " at {{level}} high"),
              (of_model("weir_conformal_target"), VERSION + " stated {{level}}"), unit="percentunit", high=1,
              help="Share of sets that hold the right class, by labels."),
        Panel("Classes in a set", (of_model("weir_conformal_set_size"), VERSION + " at {{level}}"), low=0),
        Panel("Answers that had better be withheld",
              (of_model("weir_abstention_ratio"), VERSION + " for an error rate of {{level}}"), unit="percentunit",
              low=0, high=1),
        Panel("Accuracy of the other answers",
              (of_model("weir_answered_accuracy"), VERSION + " for an error rate of {{level}}"),
              (of_model("weir_answered_accuracy_low"), VERSION + " for {{level}} low"),
              (of_model("weir_answered_accuracy_high"), VERSION + " for {{level}} high"), unit="percentunit", high=1),
        Panel("Feedback by outcome",
              (f"sum by (outcome) (rate(weir_feedback_total{{{INSTANCE}}}{RATE}))", "{{outcome}}"), stacked=True),
        Panel("Feedback that waits for its prediction", (f"weir_feedback_held{{{INSTANCE}}}", "{{instance}}"), low=0),
        Panel("Age of the last replay of the probe set",
              ("time() - " + of_model("weir_probe_last_success_timestamp_seconds") + " > 0", VERSION), unit="s", low=0),
    ]),
    ("Drift", [
        Panel("Evidence of a change", (of_model("weir_drift_evidence"), VERSION + " {{stream}}"), line_at=1, low=0,
              help="ln R / ln A by stream. From 1 on a change is certain at the stated rate of false alarms."),
        Panel("Size of the change", (of_model("weir_drift_effect"), VERSION + " {{stream}}"), line_at=0.05,
              help="Population stability index of the last window, less what chance gives."),
        Panel("State of streams", (of_model("weir_drift_state"), VERSION + " {{stream}}"), kind="state-timeline",
              steps=[(1, "yellow"), (2, "orange"), (3, "red")],
              help="0 quiet, 1 changed without a sign of harm or while learning, 2 warning, 3 critical."),
        Panel("Unusual inputs", (of_model("weir_anomaly_share"), VERSION), unit="percentunit", low=0, line_at=0.05,
              help="About 1 % is usual; above 5 % a certain change is a warning."),
        Panel("Dependence of neighbouring samples", (of_model("weir_drift_dependence"), VERSION),
              (of_model("weir_drift_learning_windows"), VERSION + " windows still learnt"), low=0),
        Panel("Estimated accuracy",
              (of_model("weir_model_accuracy", ', source="estimated"'), VERSION),
              (of_model("weir_model_estimated_accuracy_low"), VERSION + " low"),
              (of_model("weir_model_estimated_accuracy_high"), VERSION + " high"),
              (of_model("weir_model_estimate_valid"), VERSION + " holds (1)"), unit="percentunit", high=1),
    ]),
    ("Alarms", [
        Panel("Open alarms", (f"sum by (kind, state) (weir_alarms{{{INSTANCE}}}) > 0", "{{kind}} {{state}}"),
              kind="state-timeline", width=24, steps=[(1, "red")],
              help="As GET /alarms has them; acknowledged ones are known to somebody."),
        Panel("Events sent elsewhere",
              (f"sum by (kind, outcome) (rate(weir_sink_events_total{{{INSTANCE}}}{RATE}))", "{{kind}} {{outcome}}"),
              width=24),
    ]),
    ("Store", [
        Panel("Samples for the store",
              (f"sum by (outcome) (rate(weir_prediction_log_records_total{{{INSTANCE}}}{RATE}))", "{{outcome}}")),
        Panel("Records of samples for monitoring",
              (rate("weir_monitor_records_total", "outcome", MODEL), "{{outcome}}")),
        Panel("Time of a commit",
              (quantile(0.5, "weir_store_commit_duration_seconds", "instance", INSTANCE), "{{instance}} median"),
              (quantile(0.99, "weir_store_commit_duration_seconds", "instance", INSTANCE), "{{instance}} p99"),
              unit="s", low=0, line_at=0.5),
        Panel("Samples that wait to be written", (f"weir_store_queue_depth{{{INSTANCE}}}", "{{instance}}"), low=0),
        Panel("Failures",
              (f"sum by (instance, outcome) (increase(weir_store_errors_total{{{INSTANCE}}}[5m]))",
               "{{instance}} {{outcome}}"), low=0),
        Panel("Bytes of predictions", (f"weir_store_bytes{{{INSTANCE}}}", "{{instance}}"), unit="bytes", low=0),
        Panel("Age of the oldest prediction",
              (f"time() - (weir_prediction_log_oldest_timestamp_seconds{{{INSTANCE}}} > 0)", "{{instance}}"),
              unit="s", low=0),
    ]),
])

DASHBOARDS = [SERVICE, QUALITY]


def as_rules():
    """Returns every query as a recording rule, with numbers and names for Grafana's variables."""
    rules = []
    for board in DASHBOARDS:
        queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
        queries += [annotation["expr"] for annotation in board["annotations"]["list"]]
        for query in queries:
            for name in ("instance", "model", "version"):
                query = query.replace(f"${name}", ".*")
            rules.append({"record": f"panel:{board['uid'].replace('-', '_')}:{len(rules)}",
                          "expr": query.replace("$__rate_interval", "1m")})
    return {"groups": [{"name": "dashboards", "rules": rules}]}


def main():
    if "--rules" in sys.argv[1:]:
        print(json.dumps(as_rules()))
        return
    stale = []
    for board in DASHBOARDS:
        path, text = FOLDER / f"{board['uid']}.json", json.dumps(board, indent=1) + "\n"
        if "--check" not in sys.argv[1:]:
            path.write_text(text)
        elif not path.is_file() or path.read_text() != text:
            stale.append(str(path))
    if stale:
        sys.exit(f"not what deploy/grafana/dashboards.py writes; run it: {', '.join(stale)}")


if __name__ == "__main__":
    main()
