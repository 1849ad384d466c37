"""`xdctl join --manifest kubernetes`: the Job that it prints has the fields of the API, as its published schema (batch/v1, core/v1) names and types them.  No cluster."""
import json

import pytest

# Of the schema what a manifest of xd may use: a field, its type; [] = a list of such. Anything else is an error, as it is to kubectl with strict validation.
TEXTS = {"*": str}
METADATA = {"name": str, "labels": TEXTS}
ENV = {"name": str, "value": str, "valueFrom": {"secretKeyRef": {"name": str, "key": str}}}
CONTAINER = {"name": str, "image": str, "command": [str], "workingDir": str, "env": [ENV], "resources": {"requests": TEXTS, "limits": TEXTS},
             "securityContext": {"allowPrivilegeEscalation": bool, "privileged": bool, "readOnlyRootFilesystem": bool, "capabilities": {"drop": [str]}},
             "volumeMounts": [{"name": str, "mountPath": str}]}
POD = {"restartPolicy": str, "automountServiceAccountToken": bool, "enableServiceLinks": bool, "terminationGracePeriodSeconds": int,
       "securityContext": {"runAsNonRoot": bool, "runAsUser": int, "runAsGroup": int, "fsGroup": int, "seccompProfile": {"type": str}},
       "containers": [CONTAINER], "volumes": [{"name": str, "emptyDir": {}}]}
JOB = {"apiVersion": str, "kind": str, "metadata": METADATA,
       "spec": {"completionMode": str, "completions": int, "parallelism": int, "backoffLimit": int, "ttlSecondsAfterFinished": int, "template": {"metadata": METADATA, "spec": POD}}}


def check(value, schema, at=""):
    if isinstance(schema, dict):
        assert isinstance(value, dict), at
        for name in value:
            assert name in schema or "*" in schema, "%s.%s is no field" % (at, name)
            check(value[name], schema.get(name, schema.get("*")), "%s.%s" % (at, name))
    elif isinstance(schema, list):
        assert isinstance(value, list) and value, at
        for i, one in enumerate(value):
            check(one, schema[0], "%s[%d]" % (at, i))
    else:
        assert type(value) is schema, "%s is no %s: %r" % (at, schema.__name__, value)


def manifest(project, *args, **more):
    done = project.xdctl("join", "--manifest", "kubernetes", *args, **more)
    assert done.rc == 0, done
    return done, json.loads(done.out)


def test_a_job(project):
    done, job = manifest(project, "tcp://ci.example:7400", "--workers=4", "--replicas=16", "--image=registry.example/xd:1", "--tag=linux", "--tag=gpu=1", "--drain=2m")
    check(job, JOB)
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    container, = pod["containers"]
    assert (job["apiVersion"], job["kind"], spec["completionMode"], spec["completions"], spec["parallelism"]) == ("batch/v1", "Job", "Indexed", 16, 16)
    assert spec["backoffLimit"] == 16 and pod["restartPolicy"] == "Never" and pod["terminationGracePeriodSeconds"] > 120
    assert container["command"] == ["xdctl", "join", "--workers", "4", "--tag", "kubernetes", "--tag", "linux", "--tag", "gpu=1", "--drain", "2m", "tcp://ci.example:7400"]
    assert container["resources"] == {"requests": {"cpu": "4"}, "limits": {"cpu": "4"}} and container["image"] == "registry.example/xd:1"
    # hardened
    assert pod["automountServiceAccountToken"] is False and pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] > 0
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "privileged": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    # what may be written to is there, and is where the environment says
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    paths, env = {m["mountPath"] for m in container["volumeMounts"]}, {e["name"]: e for e in container["env"]}
    assert container["workingDir"] in paths and env["TMPDIR"]["value"] in paths and env["HOME"]["value"] in paths
    # the token comes from a Secret, which the lines on stderr make
    assert env["XD_TOKEN"]["valueFrom"] == {"secretKeyRef": {"name": "xd-join", "key": "token"}} and "value" not in env["XD_TOKEN"]
    assert "kubectl create secret generic xd-join --from-file=token=" in done.err and all(line.startswith("#") for line in done.err.splitlines())


def test_no_token_is_in_it(project):
    """One that is in the environment is for a join."""
    done, job = manifest(project, "h", "--image=i", env={"XD_TOKEN": "xdt1.secret"})
    check(job, JOB)
    assert "xdt1." not in done.out + done.err and job["spec"]["completions"] == 1


@pytest.mark.parametrize("args, words", [
    (["h"], "--image IMAGE says which image"), (["h", "--image=i", "--workers=auto"], "--workers auto: a number from 1 to 1024"), (["h", "--image=i", "--replicas=0"], "--replicas 0: a number"),
    (["h", "--image=i", "--tag=$(HOME)"], "--tag $(HOME): letters"), (["$(X)", "--image=i"], "that is no address"), (["h", "--image=a b"], "no name of an image"),
    (["h", "--image=i", "--token-file=x"], "--token-file: the pods have a token"), (["h", "--image=i", "--drain=soon"], "--drain soon: a time"),
])
def test_what_cannot_be(project, args, words):
    done = project.xdctl("join", "--manifest=kubernetes", *args)
    assert done.rc == 4 and words in done.err and not done.out, done


def test_options_that_do_not_belong_together(project):
    for args, words in ((["--manifest=nomad"], "--manifest nomad: only kubernetes is known"), (["--image=i"], "--image: it is of use with --manifest alone"),
                        (["--replicas=2"], "--replicas: it is of use with --manifest alone")):
        done = project.xdctl("join", "h", *args)
        assert done.rc == 4 and words in done.err, done
