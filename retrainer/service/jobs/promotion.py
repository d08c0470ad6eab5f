"""Who holds the alias. Ledger row first (the intent), then the alias, then verified; interruptions are repaired.

MLflow has no compare-and-set, so the ledger is compared with the alias again and again: what an interruption left is
finished or undone, what a person moved is adopted.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from threading import Lock

from retrainer.domain.deciding.ledger import Act, LedgerRow, Reign, open_intents, reign
from retrainer.domain.values import Micros, iso
from retrainer.logs import Logger
from retrainer.ports.clock import Clock
from retrainer.ports.manifest.decisions import DecisionState
from retrainer.ports.manifest.lease import Lease
from retrainer.ports.registry import Registry
from retrainer.service.policy import ModelPolicy


@dataclass
class Promotions:
    """The champion of one model. Safe to use from a job's thread and the watching thread at once."""

    policy: ModelPolicy
    registry: Registry
    state: DecisionState
    lease: Lease
    clock: Clock
    logger: Logger
    reign: Reign | None = None
    """The champion as last compared with the registry; None until that has succeeded once."""
    _lock: Lock = field(default_factory=Lock)

    def reconcile(self, watermark: Micros | None) -> Reign:
        """Compare ledger and alias, and put right what differs.

        Raises:
            Unreachable: registry or manifest is away; the reign known before stands.
        """
        with self._lock:
            for intent in open_intents(self.state.ledger(self.policy.name)):
                self._repair(intent)
            self.reign = self._adopt(watermark)
            return self.reign

    def promote(self, job_id: str, version: str, reason: str, watermark: Micros | None) -> bool:
        """Make a version the champion; False if a person moved the alias meanwhile. May be repeated for a job."""
        with self._lock:
            rows = self.state.ledger(self.policy.name)
            intent = next((row for row in rows if row.job_id == job_id and row.act is Act.INTENDED), None)
            if intent is None:
                intent = self._intend(job_id, version, reason, watermark)
            if intent in open_intents(self.state.ledger(self.policy.name)):
                self._repair(intent)
            settled = [row for row in self.state.ledger(self.policy.name) if row.of == intent.number]
            self.reign = reign(self.state.ledger(self.policy.name)) or self.reign
            return any(row.act is Act.VERIFIED for row in settled)

    def _intend(self, job_id: str, version: str, reason: str, watermark: Micros | None) -> LedgerRow:
        held = reign(self.state.ledger(self.policy.name))
        effective = None if watermark is None else watermark + self.policy.promotion.takes_effect
        return self.state.append_ledger(
            self.lease,
            LedgerRow(
                model=self.policy.name,
                alias=self.policy.promotion.alias,
                act=Act.INTENDED,
                version=version,
                previous=held.version if held else None,
                reason=reason,
                effective_from=effective,
                written_at=self.clock.now(),
                job_id=job_id,
            ),
        )

    def _repair(self, intent: LedgerRow) -> None:
        """Carry an intent out, or undo it where somebody has moved the alias since."""
        registered, alias = self.policy.promotion.registered_model, self.policy.promotion.alias
        found = self.registry.version_at(registered, alias)
        if found == intent.previous and intent.version is not None:
            self.registry.point(registered, alias, intent.version)
            found = self.registry.version_at(registered, alias)
        self._settle(intent, Act.VERIFIED if found == intent.version else Act.UNDONE)

    def _settle(self, intent: LedgerRow, act: Act) -> None:
        row = replace(intent, act=act, written_at=self.clock.now(), of=intent.number, number=0)
        self.state.append_ledger(self.lease, row)
        event = "model.promoted" if act is Act.VERIFIED else "alias.repaired"
        self.logger.info(
            event,
            model=intent.model,
            job_id=intent.job_id,
            alias=intent.alias,
            version=intent.version,
            previous=intent.previous,
            effective_from=iso(intent.effective_from) if intent.effective_from is not None else None,
            reason=intent.reason,
            act=act.value,
        )

    def _adopt(self, watermark: Micros | None) -> Reign:
        """Follow a person who moved the alias; the first look at a model is such a move too."""
        held = reign(self.state.ledger(self.policy.name))
        found = self.registry.version_at(self.policy.promotion.registered_model, self.policy.promotion.alias)
        previous = held.version if held else None
        if found == previous:
            return held or Reign(version=None, effective_from=None)
        row = self.state.append_ledger(
            self.lease,
            LedgerRow(
                model=self.policy.name,
                alias=self.policy.promotion.alias,
                act=Act.EXTERNAL,
                version=found,
                previous=previous,
                reason="found at the first look" if held is None else "moved by a person",
                effective_from=watermark if held is not None else None,
                written_at=self.clock.now(),
            ),
        )
        self.logger.info(
            "alias.adopted", model=row.model, alias=row.alias, version=found, previous=previous, reason=row.reason
        )
        return Reign(version=found, effective_from=row.effective_from, written_at=row.written_at)
