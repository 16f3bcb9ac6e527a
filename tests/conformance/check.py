#!/usr/bin/env python3
"""Replay recorded Proxmox VE API scenarios against a server and compare the answers.

  check.py BASE_URL [--only NAME]... [--json] [options]      (see README.md)

Python 3.11+, needs only `requests`.  Exit status 1 when any scenario fails.
"""

import argparse, base64, glob, itertools, json, os, re, sys, threading, time, urllib.parse
import requests

HERE = os.path.dirname(os.path.abspath(__file__))
# ---------------------------------------------------------------- placeholders
PH = re.compile(
    r"<(upid|digest|mac|maclower|vncpassword|uuid|stamp|ticket|vncticket|csrf|crypt|int|number|numeric-string|string|object|list|bool|scalar|any|version|tokenid|storepath|secret|set|lt)(?::([^<>]*))?>"
)
BOUND = {"digest", "mac", "maclower", "vncpassword", "uuid", "stamp", "secret"}
RX = {
    "digest": r"[0-9a-f]{40,64}",
    "mac": r"(?:[0-9A-F]{2}:){5}[0-9A-F]{2}",
    "vncpassword": r"[!-~]{8}",
    "maclower": r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}",
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "stamp": r"\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d",
    "ticket": r"PVE:[^:]+:[0-9A-F]{8}::[A-Za-z0-9+/=]+",
    "vncticket": r"PVEVNC:[0-9A-F]{8}::[A-Za-z0-9+/=]+",
    "csrf": r"[0-9A-F]{8}:[A-Za-z0-9+/=]+",
    "crypt": r'\$\w+\$[^\s"\']+',
    "int": r"-?\d+",
    "number": r"-?\d+(?:\.\d+)?(?:e-?\d+)?",
    "numeric-string": r"-?\d+(?:\.\d+)?(?:e-?\d+)?",
    "string": r".*?",
    "any": r".*?",
    "scalar": r".*?",
    "version": r"\d+(?:\.\d+)*(?:[-~+][\w.+~-]+)?",
    "storepath": r'/[^\s\'"]*?',
    "secret": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "lt": "<",
}


class Ctx:
    """One scenario's replay state: saved variables and placeholder bindings."""

    def __init__(self, cfg):
        self.cfg, self.vars, self.bind, self.rbind = cfg, {}, {}, {}

    def subst(self, v):
        if isinstance(v, str):
            v = re.sub(r"\{(\w+)\}", lambda m: str(self.vars[m[1]]) if m[1] in self.vars else m[0], v)
            return self.node_out(v)
        if isinstance(v, list):
            return [self.subst(x) for x in v]
        if isinstance(v, dict):
            return {k: self.subst(x) for k, x in v.items()}
        return v

    def node_out(self, s):
        n = self.cfg["node"]
        return s if n == "pve1" else re.sub(r"\bpve1\b", n, s)

    def node_in(self, v):
        n = self.cfg["node"]
        if n == "pve1":
            return v
        if isinstance(v, str):
            return re.sub(r"\b%s\b" % re.escape(n), "pve1", v)
        if isinstance(v, list):
            return [self.node_in(x) for x in v]
        if isinstance(v, dict):
            return {self.node_in(k): self.node_in(x) for k, x in v.items()}
        return v

    def bindok(self, kind, n, val):
        if kind == "maclower":
            kind, val = "mac", val.upper()  # the same address in lower case
        k, rk = (kind, n), (kind, val)
        if k in self.bind:
            return self.bind[k] == val
        if rk in self.rbind:
            return False
        self.bind[k] = val
        self.rbind[rk] = n
        return True


def tname(v):
    return (
        "null"
        if v is None
        else "bool"
        if isinstance(v, bool)
        else "int"
        if isinstance(v, int)
        else "float"
        if isinstance(v, float)
        else "string"
        if isinstance(v, str)
        else "list"
        if isinstance(v, list)
        else "object"
    )


def short(v, n=160):
    s = v if isinstance(v, str) else json.dumps(v, sort_keys=True, ensure_ascii=False)
    s = s.replace("\n", "\\n")
    return s if len(s) <= n else s[:n] + "…"


def match_str(exp, act, ctx):
    if not PH.search(exp):
        return exp == act
    pat, groups, pos = "", [], 0
    for m in PH.finditer(exp):
        pat += re.escape(exp[pos : m.start()])
        pos = m.end()
        kind, arg = m[1], m[2]
        if kind == "upid":
            typ, _, i = arg.replace("%3E", ">").partition(":")
            pat += r"UPID:pve1:[0-9A-F]{8}:[0-9A-F]{8,9}:[0-9A-F]{8}:%s:%s:[^\s:]+:" % (
                re.escape(typ),
                re.escape(i),
            )
        elif kind == "tokenid":
            pat += re.escape(ctx.cfg["tokenname"])
        elif kind in BOUND:
            pat += "(%s)" % RX[kind]
            groups.append((kind, arg))
        else:
            pat += "(?:%s)" % RX[kind]
    pat += re.escape(exp[pos:])
    m = re.fullmatch(pat, act, re.S)
    return bool(m) and all(ctx.bindok(k, n, m[i + 1]) for i, (k, n) in enumerate(groups))


def keyof(d):
    if not isinstance(d, dict):
        return None
    for ks in (
        ("subdir",),
        ("upid",),
        ("volid",),
        ("vmid", "type"),
        ("vmid",),
        ("id",),
        ("tokenid",),
        ("userid",),
        ("poolid",),
        ("roleid",),
        ("path", "ugid", "roleid"),
        ("storage",),
        ("pos",),
        ("cidr",),
        ("snapname",),
        ("name",),
        ("key",),
        ("iface",),
        ("node",),
        ("n",),
        ("refid",),
        ("user",),
    ):
        if all(k in d for k in ks):
            return (ks, tuple(d[k] if isinstance(d[k], (str, int)) else json.dumps(d[k]) for k in ks))
    return None


def compare(exp, act, ctx, opt, path="body", out=None):
    """Append differences to out.  opt: lenient (extra object keys allowed), list ('exact'|'subset'|'ordered')."""
    if out is None:
        out = []
    m = PH.fullmatch(exp) if isinstance(exp, str) else None
    if m and m[1] in ("int", "number", "object", "list", "bool", "scalar", "any"):
        k = m[1]
        isnum = isinstance(act, (int, float)) and not isinstance(act, bool)
        good = {
            "int": isinstance(act, int) and not isinstance(act, bool),
            "number": isnum,
            "object": isinstance(act, dict),
            "list": isinstance(act, list),
            "bool": isinstance(act, bool),
            "scalar": isnum or isinstance(act, str),
            "any": True,
        }[k]
        if not good:
            out.append(f"{path}: want {exp}, got {tname(act)} {short(act)}")
        return out
    if m and m[1] == "set":
        if not isinstance(act, str) or sorted(act.split(",")) != sorted(m[2].split(",")):
            out.append(f"{path}: want {exp}, got {tname(act)} {short(act)}")
        return out
    if isinstance(exp, str) and isinstance(act, str):
        if not match_str(exp, act, ctx):
            # the lines below 'format error' come in hash order
            if "format error\n" not in exp or sorted(exp.split("\n")) != sorted(act.split("\n")):
                out.append(f"{path}: want {short(exp)!r}, got {short(act)!r}")
    elif isinstance(exp, dict) and isinstance(act, dict):
        for k in exp:
            if k not in act:
                out.append(f"{path}.{k}: missing (want {short(exp[k], 60)})")
            else:
                compare(exp[k], act[k], ctx, opt, f"{path}.{k}", out)
        if not opt.get("lenient"):
            for k in act:
                if k not in exp:
                    out.append(f"{path}.{k}: unexpected {tname(act[k])} {short(act[k], 60)}")
    elif isinstance(exp, list) and isinstance(act, list):
        mode = opt.get("list", "exact")
        if (
            mode == "every"
        ):  # one template element which every actual element must match; keys ending in '?' may be missing
            lo, hi = opt.get("items", [0, 10**9])
            if not lo <= len(act) <= hi:
                out.append(f"{path}: want {lo}..{hi} items, got {len(act)}")
            for i, a in enumerate(act):
                n = len(out)
                for k, v in exp[0].items():
                    r = k.rstrip("?")
                    if r not in a:
                        if not k.endswith("?"):
                            out.append(f"{path}[{i}].{r}: missing")
                    else:
                        compare(v, a[r], ctx, {}, f"{path}[{i}].{r}", out)
                for k in a:
                    if k not in exp[0] and k + "?" not in exp[0]:
                        out.append(f"{path}[{i}].{k}: unexpected")
                if len(out) > n:
                    break
            return out
        if mode == "ordered":
            if len(exp) != len(act):
                out.append(f"{path}: want {len(exp)} items, got {len(act)}")
            for i, (e, a) in enumerate(zip(exp, act)):
                compare(e, a, ctx, opt, f"{path}[{i}]", out)
            return out
        rest = list(act)
        for i, e in enumerate(exp):
            ke = keyof(e)
            hit = None
            best = None
            for a in rest:
                if ke is not None:
                    ka = keyof(a)
                    if ka is None or ka[0] != ke[0]:
                        continue
                    same = all(keymatch(x, y, ctx) for x, y in zip(ke[1], ka[1]))
                    if not same:
                        continue
                    best = a
                    tmp = Ctx(ctx.cfg)
                    tmp.bind, tmp.rbind = dict(ctx.bind), dict(ctx.rbind)
                    if not compare(e, a, tmp, opt, path, []):
                        hit = a
                        break
                else:
                    tmp = Ctx(ctx.cfg)
                    tmp.bind, tmp.rbind = dict(ctx.bind), dict(ctx.rbind)
                    if not compare(e, a, tmp, opt, path, []):
                        hit = a
                        break
            if hit is None:
                hit = best
            lab = f"{path}[{'/'.join(map(str, ke[1])) if ke else i}]"
            if hit is None:
                out.append(f"{lab}: missing element {short(e, 80)}")
            else:
                rest.remove(hit)
                compare(e, hit, ctx, opt, lab, out)
        if mode == "exact":
            for a in rest:
                out.append(f"{path}: unexpected element {short(a, 80)}")
    elif type(exp) is not type(act) or exp != act:
        if (
            isinstance(exp, (int, float))
            and isinstance(act, (int, float))
            and not isinstance(exp, bool)
            and not isinstance(act, bool)
            and exp == act
        ):
            return out
        out.append(f"{path}: want {tname(exp)} {short(exp)}, got {tname(act)} {short(act)}")
    return out


def keymatch(x, y, ctx):
    if isinstance(x, str) and isinstance(y, str):
        tmp = Ctx(ctx.cfg)
        tmp.bind, tmp.rbind = dict(ctx.bind), dict(ctx.rbind)
        return match_str(x, y, tmp) or (
            PH.fullmatch(x) is not None and PH.fullmatch(x)[1] in ("string", "any")
        )
    if isinstance(x, str):
        return PH.fullmatch(x) is not None
    return x == y


def pick(body, expr):
    """save expressions: 'data.digest' or ['find', key, regex, field] over data (a list)."""
    if isinstance(expr, list):
        _, key, rx, field = expr
        for d in (body or {}).get("data") or []:
            if re.search(rx, str(d.get(key, ""))):
                return d[field]
        raise KeyError(expr)
    v = body
    for p in expr.split("."):
        v = v[int(p)] if isinstance(v, list) else v[p]
    return v


# ---------------------------------------------------------------- transport
class Client:
    def __init__(self, cfg):
        self.cfg = cfg
        self.local = threading.local()
        self._ticket = None
        self.prefix = cfg["base"].rstrip("/") + (
            "" if cfg["base"].rstrip("/").endswith("/api2/json") else "/api2/json"
        )

    def sess(self):
        if not hasattr(self.local, "s"):
            s = requests.Session()
            s.trust_env = False
            s.verify = self.cfg["verify"]
            self.local.s = s
        return self.local.s

    def ticket(self):
        if not self._ticket:
            r = self.sess().post(
                self.prefix + "/access/ticket",
                data={"username": self.cfg["user"], "password": self.cfg["password"]},
                timeout=30,
            )
            r.raise_for_status()
            self._ticket = r.json()["data"]
        return self._ticket

    def auth(self, as_, ctx):
        c = self.cfg
        if as_ == "token":
            return {"Authorization": f"PVEAPIToken={c['tokenid']}={c['tokenvalue']}"}
        if as_ == "bad-token":
            return {"Authorization": f"PVEAPIToken={c['tokenid']}=00000000-0000-0000-0000-000000000000"}
        if as_ == "unknown-token":
            return {"Authorization": f"PVEAPIToken={c['tokenid']}x=00000000-0000-0000-0000-000000000000"}
        if as_ == "malformed-token":
            return {"Authorization": "PVEAPIToken=bad"}
        if as_ == "none":
            return {}
        if as_ == "ticket":
            t = self.ticket()
            return {
                "Cookie": "PVEAuthCookie=" + urllib.parse.quote(t["ticket"], safe=""),
                "CSRFPreventionToken": t["CSRFPreventionToken"],
            }
        if as_ == "ticket-nocsrf":
            return {"Cookie": "PVEAuthCookie=" + urllib.parse.quote(self.ticket()["ticket"], safe="")}
        if as_ == "ticket-badcsrf":
            return {
                "Cookie": "PVEAuthCookie=" + urllib.parse.quote(self.ticket()["ticket"], safe=""),
                "CSRFPreventionToken": "00000000:" + "A" * 43,
            }
        if as_ == "bad-ticket":
            return {
                "Cookie": "PVEAuthCookie="
                + urllib.parse.quote("PVE:" + c["user"] + ":00000000::AAAA", safe="")
            }
        if as_.startswith("limited-token"):  # 'limited-token' uses vars limited_id, limited_value
            return {"Authorization": ctx.subst("PVEAPIToken={limited_id}={limited_value}")}
        if as_.startswith("limited-ticket"):
            return {
                "Cookie": "PVEAuthCookie=" + urllib.parse.quote(ctx.vars["limited_ticket"], safe=""),
                "CSRFPreventionToken": ctx.vars["limited_csrf"],
            }
        raise ValueError(as_)

    def send(self, step, ctx):
        """-> (status, reason, body-json-or-null)"""
        path = ctx.subst(step["path"])
        params = ctx.subst(step.get("params") or {})
        h = self.auth(step.get("as", "token"), ctx)
        for k, v in (step.get("headers") or {}).items():
            h[k] = ctx.subst(v)
        url = self.prefix + urllib.parse.quote(path, safe="/:!@$&'()*+,;=~%")
        kw = dict(headers=h, timeout=self.cfg["timeout"], allow_redirects=False)
        if step.get("upload"):
            u = step["upload"]
            r = self.sess().post(
                url,
                data=params,
                files={
                    u["field"]: (
                        u["filename"],
                        base64.b64decode(u["content_b64"]),
                        "application/octet-stream",
                    )
                },
                **kw,
            )
        elif step.get("websocket"):
            # a handshake only: read the status line, then hang up
            h.update(
                {
                    "Upgrade": "websocket",
                    "Connection": "Upgrade",
                    "Sec-WebSocket-Version": "13",
                    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
                    "Sec-WebSocket-Protocol": "binary",
                }
            )
            s = requests.Session()
            s.trust_env = False
            s.verify = self.cfg["verify"]
            kw.pop("allow_redirects")
            r = s.get(url, params=params, stream=True, headers=h, timeout=15)
            if r.status_code == 101:
                res = (
                    101,
                    r.reason,
                    {
                        "sec-websocket-accept": r.headers.get("Sec-WebSocket-Accept"),
                        "sec-websocket-protocol": r.headers.get("Sec-WebSocket-Protocol"),
                        "upgrade": r.headers.get("Upgrade"),
                    },
                )
                r.raw._fp.close() if getattr(r.raw, "_fp", None) else None
                s.close()
                return res
        elif step.get("json") is not None:
            h["Content-Type"] = "application/json"
            r = self.sess().request(step["method"], url, data=json.dumps(ctx.subst(step["json"])), **kw)
        elif step["method"] in ("POST", "PUT"):
            r = self.sess().request(step["method"], url, data=params, **kw)
        else:
            r = self.sess().request(step["method"], url, params=params, **kw)
        try:
            body = r.json()
        except ValueError:
            body = None
        return r.status_code, r.reason, ctx.node_in(body)

    def api(self, m, path, params=None, as_="token"):
        ctx = Ctx(self.cfg)
        return self.send({"method": m, "path": path, "params": params or {}, "as": as_}, ctx)

    def wait(self, upid, ctx, timeout=240):
        p = "/nodes/pve1/tasks/" + ctx.node_in(upid)
        end = time.time() + timeout
        n = 0
        while True:
            st, _, b = self.api("GET", p + "/status")
            if st != 200:
                return {"error": f"task status answered {st} {short(b)}"}
            if b["data"].get("status") == "stopped":
                break
            if time.time() > end:
                return {"error": "task still running after %ds" % timeout}
            n += 1
            time.sleep(min(0.1 + 0.05 * n, 0.5))
        log = self.api("GET", p + "/log", {"limit": 500})[2] or {}
        return {
            "status": b["data"],
            "exitstatus": b["data"].get("exitstatus"),
            "log": [x.get("t") for x in log.get("data") or []],
        }

    def preclean(self, scen, say=lambda *_: None):
        """Best effort removal of whatever a broken earlier run left behind."""
        ctx = Ctx(self.cfg)
        u = scen.get("uses", {})

        def do(m, p, par=None):
            s, _, b = self.api(m, p, par)
            if s == 200 and isinstance((b or {}).get("data"), str) and b["data"].startswith("UPID:"):
                self.wait(b["data"], ctx, 90)
            return s, b

        st, _, b = self.api("GET", "/nodes/pve1/qemu")
        have = {int(v["vmid"]) for v in ((b or {}).get("data") or [])}
        for vm in sorted(u.get("vmids", []), reverse=True):
            if vm in have:
                say(f"preclean: removing VM {vm}")
                c = (self.api("GET", f"/nodes/pve1/qemu/{vm}/config")[2] or {}).get("data") or {}
                do("POST", f"/nodes/pve1/qemu/{vm}/status/stop")
                if c.get("lock"):
                    self.api(
                        "PUT", f"/nodes/pve1/qemu/{vm}/config", {"delete": "lock", "skiplock": 1}, "ticket"
                    )
                if c.get("protection"):
                    self.api("PUT", f"/nodes/pve1/qemu/{vm}/config", {"delete": "protection"})
                do("DELETE", f"/nodes/pve1/qemu/{vm}", {"purge": 1, "destroy-unreferenced-disks": 1})
        for st in ("local", "vmstore"):
            vols = (self.api("GET", f"/nodes/pve1/storage/{st}/content")[2] or {}).get("data") or []
            for v in vols:
                if (v.get("vmid") in u.get("vmids", [])) or v["volid"] in u.get("volids", []):
                    say("preclean: removing", v["volid"])
                    if v.get("protected"):
                        do("PUT", f"/nodes/pve1/storage/{st}/content/{v['volid']}", {"protected": 0})
                    do("DELETE", f"/nodes/pve1/storage/{st}/content/{v['volid']}")
        for p in u.get("pools", []):
            self.api("DELETE", "/pools", {"poolid": p})
        for x in u.get("users", []):
            if self.api("GET", f"/access/users/{x}")[0] == 200:
                self.api("DELETE", f"/access/users/{x}")
        for x in u.get("roles", []):
            if self.api("GET", f"/access/roles/{x}")[0] == 200:
                self.api("DELETE", f"/access/roles/{x}")


def until_ok(cond, status, body):
    if "status" in cond and status != cond["status"]:
        return False
    for k, v in (cond.get("data") or {}).items():
        d = (body or {}).get("data")
        if not isinstance(d, dict) or d.get(k) != v:
            return False
    it = cond.get("item")
    if it:  # some element of the list has all these values (a null value: the key is absent)
        return any(
            isinstance(e, dict) and all(e.get(k) == v for k, v in it.items())
            for e in (body or {}).get("data") or []
        )
    return True


def run_step(cli, step, ctx):
    """Send one step (with its delay, polling and task wait); returns {'status','reason','body','wait'?}."""
    if step.get("after_s"):
        time.sleep(step["after_s"])
    poll = step.get("poll")
    end = time.time() + (poll or {}).get("timeout_s", 0)
    while True:
        status, reason, body = cli.send(step, ctx)
        if not poll or until_ok(poll["until"], status, body) or time.time() > end:
            break
        if status != 200 and "status" not in poll["until"]:
            break  # an error will not turn into the awaited state
        time.sleep(poll.get("interval_s", 1))
    res = {"status": status, "reason": reason, "body": body}
    d = body.get("data") if isinstance(body, dict) else None
    for var, expr in (step.get("save") or {}).items():
        try:
            ctx.vars[var] = pick(body, expr)
        except (KeyError, IndexError, TypeError, ValueError):
            ctx.vars[var] = "UNSAVED"
            res.setdefault("save_error", []).append(f"save {var}: nothing at {expr}")
    if isinstance(d, str) and d.startswith("UPID:") and not step.get("nowait"):
        res["wait"] = cli.wait(d, ctx)
    return res


PROGRESS = re.compile(
    r"^(transferred |INFO: +\d+% |progress |create full clone of drive|drive-\w+: transferred|mirror-|.*\(\d+(\.\d+)?%\)|.* in \d+ ?s\b|.* in \d+m)"
)


def check_step(step, res, ctx, cfg):
    out = []
    if step["status"] != res["status"]:
        out.append(f"status: want {step['status']}, got {res['status']} {short(res['body'])}")
    opt = {
        "lenient": step.get("lenient"),
        "list": step.get("list", "exact"),
        "items": step.get("items", [0, 10**9]),
    }
    compare(step["body"], res["body"], ctx, opt, "body", out)
    out += res.get("save_error", [])
    if "wait" in step:
        w, a = step["wait"], res.get("wait")
        if a is None:
            out.append("wait: body is not a UPID")
        elif "error" in a:
            out.append("wait: " + a["error"])
        else:
            compare(w["status"], a["status"], ctx, {}, "task", out)
            if cfg["log"] == "last":
                compare(w["log"][-1:], a["log"][-1:], ctx, {"list": "ordered"}, "log", out)
            elif cfg["log"] == "full":
                f = lambda L: [x for x in L if not PROGRESS.match(x or "")]
                compare(f(w["log"]), f(a["log"]), ctx, {"list": "ordered"}, "log", out)
    return out


def replay(cli, scen, cfg, say=lambda *_: None):
    ctx = Ctx(cfg)
    ctx.vars.update(
        {
            "cfg_user": cfg["user"],
            "cfg_password": cfg["password"] or "",
            "cfg_tokenname": cfg["tokenname"],
            "cfg_tokenid": cfg["tokenid"],
        }
    )
    diffs = []
    saved = {v for st in scen["steps"] for x in [st, *st.get("parallel", [])] for v in x.get("save") or {}}
    if not cfg["no_preclean"]:
        cli.preclean(scen, say)
    for i, step in enumerate(scen["steps"], 1):
        if "parallel" in step:
            subs = step["parallel"]
            got = [None] * len(subs)
            if step.get("after_s"):
                time.sleep(step["after_s"])

            def one(k):
                c = Ctx(cfg)
                c.vars = dict(ctx.vars)
                try:
                    got[k] = run_step(cli, subs[k], c)
                except requests.RequestException as e:
                    got[k] = {"status": 0, "reason": str(e)[:80], "body": None}

            th = [threading.Thread(target=one, args=(k,)) for k in range(len(subs))]
            [t.start() for t in th]
            [t.join() for t in th]
            best = None  # which of them wins is up to the server: take the assignment (and the allowed outcome) that fits best
            for exp in [subs] + [
                [dict(o, method=x["method"], path=x["path"]) for o, x in zip(alt, subs)]
                for alt in step.get("or", [])
            ]:
                for perm in (
                    itertools.permutations(range(len(subs))) if step.get("any_order") else [range(len(subs))]
                ):
                    c = Ctx(cfg)
                    c.vars, c.bind, c.rbind = ctx.vars, dict(ctx.bind), dict(ctx.rbind)
                    ds = [check_step(e, got[k], c, cfg) for e, k in zip(exp, perm)]
                    n = sum(map(len, ds))
                    if best is None or n < best[0]:
                        best = (n, ds, c)
            ctx.bind, ctx.rbind = best[2].bind, best[2].rbind
            bad = [f"[{k + 1}] {x}" for k, d in enumerate(best[1]) for x in d]
            if bad:
                diffs.append(
                    {
                        "step": i,
                        "request": "parallel: " + " | ".join(f"{x['method']} {x['path']}" for x in subs),
                        "diff": bad,
                    }
                )
            continue
        lost = sorted(
            {
                n
                for n in re.findall(r"\{(\w+)\}", step["path"] + json.dumps(step.get("params") or {}))
                if n in saved and ctx.vars.get(n, "UNSAVED") == "UNSAVED"
            }
        )
        if lost:
            diffs.append(
                {
                    "step": i,
                    "request": f"{step['method']} {step['path']}",
                    "diff": [f"not sent: no value for {', '.join(lost)} (an earlier step failed)"],
                }
            )
            continue
        try:
            res = run_step(cli, step, ctx)
        except requests.RequestException as e:
            res = {"status": 0, "reason": "", "body": None}
            diffs.append(
                {
                    "step": i,
                    "request": f"{step['method']} {step['path']}",
                    "diff": [f"transport: {type(e).__name__}: {str(e)[:120]}"],
                }
            )
            continue
        d = check_step(step, res, ctx, cfg)
        if d:
            diffs.append(
                {
                    "step": i,
                    "request": f"{step['method']} {step['path']}"
                    + (" " + short(step["params"], 100) if step.get("params") else ""),
                    "diff": d,
                }
            )
            if cfg["stop_at_first"]:
                break
    if diffs and not cfg["no_preclean"]:
        cli.preclean(scen, say)
    return diffs


def arguments(argv=None):
    e = os.environ.get
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("base", metavar="BASE_URL", help="https://host:8006 (…/api2/json is added)")
    ap.add_argument(
        "--config", help="JSON file with any of: tokenid tokenvalue user password ca insecure node"
    )
    ap.add_argument("--token-id", default=e("PVE_TOKEN_ID"))
    ap.add_argument("--token-value", default=e("PVE_TOKEN_VALUE"))
    ap.add_argument("--user", default=e("PVE_USER"))
    ap.add_argument("--password", default=e("PVE_PASSWORD"))
    ap.add_argument("--password-file")
    ap.add_argument("--ca", default=e("PVE_CA"))
    ap.add_argument("--insecure", action="store_true")
    ap.add_argument("--node", default=e("PVE_NODE"))
    ap.add_argument(
        "--only", action="append", metavar="NAME", help="scenario name (or how it begins); repeatable"
    )
    ap.add_argument("--skip", action="append", default=[], metavar="NAME")
    ap.add_argument("--tag", help="only scenarios with this tag ('guest' needs a really booting guest)")
    ap.add_argument("--no-tag", help="leave out scenarios with this tag")
    ap.add_argument("--dir", default=os.path.join(HERE, "recordings"))
    ap.add_argument("--json", action="store_true")
    ap.add_argument(
        "--log",
        choices=("none", "last", "full"),
        default="last",
        help="how much of the task logs to compare (default: last line)",
    )
    ap.add_argument("--timeout", type=float, default=60)
    ap.add_argument("--no-preclean", action="store_true")
    ap.add_argument("--stop-at-first", action="store_true")
    ap.add_argument("--max-diff", type=int, default=8)
    ap.add_argument("-v", "--verbose", action="store_true")
    return ap.parse_args(argv)


def make_cfg(a):
    c = json.load(open(a.config)) if a.config else {}
    tid = a.token_id or c.get("tokenid") or "root@pam!harness"
    pw = a.password or c.get("password")
    pf = a.password_file or c.get("passwordfile")
    if not pw and pf:
        pw = open(pf).read().strip()
    tv = a.token_value or c.get("tokenvalue")
    if not tv and c.get("tokenfile"):
        tv = json.load(open(c["tokenfile"]))["value"]
    ca = a.ca or c.get("ca")
    if a.insecure or c.get("insecure"):
        import urllib3

        urllib3.disable_warnings()
        verify = False
    else:
        verify = ca or True
    return {
        "base": a.base,
        "tokenid": tid,
        "tokenname": tid.split("!")[-1],
        "tokenvalue": tv,
        "user": a.user or c.get("user") or "root@pam",
        "password": pw,
        "verify": verify,
        "node": a.node or c.get("node") or "pve1",
        "timeout": a.timeout,
        "log": a.log,
        "no_preclean": a.no_preclean,
        "stop_at_first": a.stop_at_first,
    }


def main(argv=None):
    a = arguments(argv)
    cfg = make_cfg(a)
    cli = Client(cfg)
    if not cfg["tokenvalue"]:
        sys.exit("no API token: give --token-id/--token-value or --config")
    files = sorted(glob.glob(os.path.join(a.dir, "*.json")))
    results = []
    for f in files:
        scen = json.load(open(f))
        name = scen["scenario"]
        if a.only and not any(os.path.basename(f).startswith(o) or o == name for o in a.only):
            continue
        if any(o in os.path.basename(f) for o in a.skip):
            continue
        if a.tag and a.tag not in scen.get("tags", []):
            continue
        if a.no_tag and a.no_tag in scen.get("tags", []):
            continue
        t = time.time()
        say = (lambda *x: print("   ", *x, file=sys.stderr)) if a.verbose else (lambda *_: None)
        try:
            diffs = replay(cli, scen, cfg, say)
        except (requests.RequestException, ValueError, KeyError, TypeError, AttributeError) as e:
            diffs = [
                {"step": 0, "request": "-", "diff": [f"replay aborted: {type(e).__name__}: {str(e)[:200]}"]}
            ]
        r = {
            "scenario": name,
            "file": os.path.basename(f),
            "steps": len(scen["steps"]),
            "failed_steps": len(diffs),
            "ok": not diffs,
            "seconds": round(time.time() - t, 1),
            "diffs": diffs,
        }
        results.append(r)
        if not a.json:
            print(
                f"{'PASS' if r['ok'] else 'FAIL'}  {name:32} {r['steps'] - r['failed_steps']}/{r['steps']} steps  {r['seconds']}s",
                flush=True,
            )
            for d in diffs:
                print(f"    step {d['step']}: {d['request']}")
                for x in d["diff"][: a.max_diff]:
                    print("        " + x)
                if len(d["diff"]) > a.max_diff:
                    print(f"        … {len(d['diff']) - a.max_diff} more")
    bad = [r for r in results if not r["ok"]]
    if a.json:
        print(
            json.dumps(
                {"base": a.base, "passed": len(results) - len(bad), "failed": len(bad), "results": results},
                indent=1,
                ensure_ascii=False,
            )
        )
    else:
        print(
            f"{len(results) - len(bad)} of {len(results)} scenarios passed, {sum(r['steps'] - r['failed_steps'] for r in results)} of {sum(r['steps'] for r in results)} steps"
        )
    return 1 if bad or not results else 0


if __name__ == "__main__":
    sys.exit(main())
