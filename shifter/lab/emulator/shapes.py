"""Balancers as the API prints them, field for field as in the SDK's models and the official samples.

The samples disagree with each other, so the answers here do too, by dice: `Type` in either case, empty lists as
`null` or `[]`, `EniId` empty where it could be known, and now and then a HealthStatusDetail that contradicts
HealthStatus (the flag is the authoritative one). A client that survives the samples survives this.
"""

import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from shifter.lab.emulator.balancers import Health, Listener, LoadBalancer, Rule, Target, TargetKind

Json = Mapping[str, Any]
_CREATED_AT = "2026-01-05 09:58:00"
_CONTRADICTION_CHANCE = 0.1
_LOAD_BALANCER_CONSTANTS: Json = MappingProxyType(
    {
        "Domain": "",
        "AddressIPv6": None,
        "AddressIPVersion": "ipv4",
        "IPv6Mode": None,
        "CreateTime": _CREATED_AT,
        "StatusTime": _CREATED_AT,
        "ProjectId": 0,
        "OpenBgp": 0,
        "Snat": False,
        "Log": "",
        "SubnetId": "",
        "SecureGroups": [],
        "MasterZone": None,
        "BackupZoneSet": None,
        "IsolatedTime": None,
        "ExpireTime": None,
        "ChargeType": "POSTPAID_BY_HOUR",
        "NetworkAttributes": None,
        "PrepaidAttributes": None,
        "ExtraInfo": None,
        "LoadBalancerPassToTarget": True,
        "SnatPro": False,
        "SnatIps": [],
        "IsBlock": False,
        "IsBlockTime": "",
        "SlaType": "",
        "Zones": None,
        "NfvInfo": "",
        "VipIsp": "BGP",
        "Egress": "",
    }
)


def load_balancer(balancer: LoadBalancer, region: str) -> Json:
    """One element of LoadBalancerSet."""
    return {
        **_LOAD_BALANCER_CONSTANTS,
        "LoadBalancerId": balancer.load_balancer_id,
        "LoadBalancerName": balancer.name,
        "LoadBalancerType": balancer.kind,
        "Forward": int(balancer.forward),
        "LoadBalancerDomain": balancer.domain,
        "LoadBalancerVips": list(balancer.vips),
        "Status": int(balancer.running),
        "Isolation": int(balancer.isolated),
        "VpcId": balancer.vpc_id,
        "TargetRegionInfo": {"Region": region, "VpcId": balancer.vpc_id},
        "Tags": [{"TagKey": key, "TagValue": value} for key, value in balancer.tags],
        "AttributeFlags": list(balancer.attribute_flags),
    }


def listener(shown: Listener) -> Json:
    """One element of DescribeListeners' Listeners: layer 7 keeps its settings in the rules, layer 4 in itself."""
    settings = None if shown.is_l7 else shown.rules[0]
    return {
        "ListenerId": shown.listener_id,
        "ListenerName": shown.name,
        "CreateTime": _CREATED_AT,
        "Protocol": shown.protocol,
        "Port": shown.port,
        "EndPort": 0,
        "HealthCheck": None if settings is None else _health_check(settings, "TCP"),
        "Certificate": None,
        "Scheduler": None if settings is None else settings.scheduler,
        "SessionExpireTime": None if settings is None else settings.session_expire_time_seconds,
        "SniSwitch": 0,
        "Rules": [_rule_output(shown, rule) for rule in shown.rules] if shown.is_l7 else None,
        "TargetType": None if settings is None else settings.target_type,
        "TargetGroup": None if settings is None else _target_group(settings),
        "TargetGroupList": None if settings is None else _target_groups(settings),
        "KeepaliveEnable": 0 if shown.is_l7 else None,
        "SessionType": "NORMAL",
        "Toa": False,
        "DeregisterTargetRst": False,
        "MaxConn": -1,
        "MaxCps": -1,
        "IdleConnectTimeout": 900 if shown.protocol == "TCP" else None,
        "AttrFlags": [],
    }


def listener_backend(shown: Listener, rules: tuple[Rule, ...], rng: random.Random) -> Json:
    """One element of DescribeTargets' Listeners, with only these rules (their targets may be filtered)."""
    return {
        "ListenerId": shown.listener_id,
        "Protocol": shown.protocol,
        "Port": shown.port,
        "EndPort": 0,
        "Rules": [_rule_targets(rule, rng) for rule in rules] if shown.is_l7 else None,
        "Targets": None if shown.is_l7 else [_backend(target, rng) for rule in rules for target in rule.targets],
    }


def listener_health(shown: Listener, rules: tuple[Rule, ...], rng: random.Random) -> Json:
    """One element of a LoadBalancerHealth; layer 4 shows one rule whose Domain and Url are null."""
    return {
        "ListenerId": shown.listener_id,
        "ListenerName": shown.name,
        "Protocol": shown.protocol,
        "Port": shown.port,
        "Rules": [
            {
                "LocationId": rule.location_id,
                "Domain": rule.domain,
                "Url": rule.url,
                "RuleId": None,
                "Targets": [_target_health(rule, target, rng) for target in rule.targets],
            }
            for rule in rules
        ],
    }


def _rule_output(owner: Listener, rule: Rule) -> Json:
    return {
        "LocationId": rule.location_id,
        "ListenerId": owner.listener_id,
        "Domain": rule.domain,
        "Domains": [rule.domain],
        "Url": rule.url,
        "Scheduler": rule.scheduler,
        "SessionExpireTime": rule.session_expire_time_seconds,
        "HealthCheck": _health_check(rule, "HTTP"),
        "Certificate": None,
        "RewriteTarget": {"TargetListenerId": None, "TargetLocationId": None},
        "HttpGzip": True,
        "BeAutoCreated": False,
        "DefaultServer": False,
        "Http2": False,
        "ForwardType": "HTTP",
        "CreateTime": _CREATED_AT,
        "TargetType": rule.target_type,
        "TargetGroup": _target_group(rule),
        "TargetGroupList": _target_groups(rule),
        "WafDomainId": "",
        "QuicStatus": "QUIC_INACTIVE",
    }


def _health_check(rule: Rule, check_type: str) -> Json:
    http = check_type == "HTTP"
    return {
        "HealthSwitch": int(rule.health_check_on),
        "TimeOut": 2,
        "IntervalTime": 5,
        "HealthNum": 3,
        "UnHealthNum": 3,
        "HttpCode": 31 if http else None,
        "HttpCheckPath": "/" if http else None,
        "HttpCheckDomain": rule.domain if http else None,
        "HttpCheckMethod": "HEAD" if http else None,
        "HttpVersion": None,
        "CheckPort": None,
        "CheckType": check_type,
        "ContextType": None,
        "SendContext": None,
        "RecvContext": None,
        "ExtendedCode": None,
        "SourceIpType": 1,
    }


def _target_group(rule: Rule) -> Json | None:
    groups = _target_groups(rule)
    return groups[0] if groups else None


def _target_groups(rule: Rule) -> list[Json] | None:
    if not rule.target_groups:
        return None
    return [
        {"TargetGroupId": group.group_id, "TargetGroupName": group.name, "Weight": group.weight}
        for group in rule.target_groups
    ]


def _rule_targets(rule: Rule, rng: random.Random) -> Json:
    return {
        "LocationId": rule.location_id,
        "Domain": rule.domain,
        "Url": rule.url,
        "Targets": [_backend(target, rng) for target in rule.targets],
        "FunctionTargets": rng.choice([None, []]),
    }


def _backend(target: Target, rng: random.Random) -> Json:
    kind = target.kind.value
    return {
        "Type": rng.choice([kind, kind.lower()]),
        "InstanceId": target.instance_id,
        "InstanceName": target.name or None,
        "Port": target.port,
        "Weight": target.weight,
        "PublicIpAddresses": None,
        "PrivateIpAddresses": [target.ip],
        # A CVM's primary interface is sometimes named and sometimes not; an ENI target's always is.
        "EniId": target.eni_id if target.kind is TargetKind.ENI else rng.choice(["", target.eni_id]),
        "RegisteredTime": target.registered_at,
        "Tag": "",
        "Zone": None,
    }


def _target_health(rule: Rule, target: Target, rng: random.Random) -> Json:
    healthy, detail = target.health is Health.ALIVE, (target.detail or target.health).value
    if not rule.health_check_on:
        healthy, detail = True, "Close"
    elif healthy and rng.random() < _CONTRADICTION_CHANCE:
        detail = Health.DEAD.value
    return {
        "IP": target.ip,
        "Port": target.port,
        "HealthStatus": healthy,
        "TargetId": target.instance_id or target.eni_id,
        "HealthStatusDetail": detail,
        "HealthStatusDetial": detail,
        "TargetGroupId": "",
        "Weight": target.weight,
    }
