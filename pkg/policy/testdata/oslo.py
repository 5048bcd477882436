"""Decides rules with oslo.policy: reads {"creds", "target", "rules": [rule]} and writes a list of true, false or null."""
import json
import logging
import sys

from oslo_config import cfg
from oslo_policy import policy

logging.disable(logging.CRITICAL)
conf = cfg.ConfigOpts()
conf([])
asked = json.load(sys.stdin)
answers = []
for rule in asked["rules"]:
    enforcer = policy.Enforcer(conf, use_conf=False)
    rules = {"it": rule, "default": "", "context_is_admin": "role:admin", "helper": "role:member and not role:nope"}
    enforcer.set_rules(policy.Rules.from_dict(rules, "default"), use_conf=False)
    try:
        answers.append(bool(enforcer.enforce("it", asked["target"], asked["creds"])))
    except Exception:
        answers.append(None)
json.dump(answers, sys.stdout)
