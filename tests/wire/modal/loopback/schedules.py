"""Schedules: fired by a test, or by a clock whose minutes may be short."""

import asyncio
import pickle
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from modal_proto import api_pb2

from tests.wire.modal.loopback.apps import Apps
from tests.wire.modal.loopback.calls import Calls
from tests.wire.modal.loopback.changes import Changes
from tests.wire.modal.loopback.cron import Cron
from tests.wire.modal.loopback.definitions import FunctionRecord
from tests.wire.modal.loopback.functions import Functions
from tests.wire.modal.loopback.settings import Settings
from tests.wire.modal.loopback.work import Call

NO_ARGUMENTS = pickle.dumps(((), {}))


class Schedules:
    """Calls deployed functions when their schedule says so."""

    def __init__(
        self, apps: Apps, functions: Functions, calls: Calls, settings: Settings, changes: Changes
    ) -> None:
        self._apps, self._functions, self._calls = apps, functions, calls
        self._settings, self._changes = settings, changes
        self._periods: dict[str, datetime] = {}  # next run by definition: a deploy starts anew

    def fire(self, record: FunctionRecord) -> Call:
        """Call a function as its schedule does: without arguments."""
        call = self._calls.start(record.id)
        message = api_pb2.FunctionInput(args=NO_ARGUMENTS, data_format=api_pb2.DATA_FORMAT_PICKLE)
        self._calls.add(call, 0, message)
        return call

    async def run(self) -> None:
        """Let minutes pass for as long as the settings give them a length."""
        minute = datetime.now(ZoneInfo("UTC")).replace(second=0, microsecond=0)
        while True:
            await self._changes.wait_for(lambda: self._settings.cron_minute_seconds, 3600)
            if self._settings.cron_minute_seconds is None:
                continue
            await asyncio.sleep(self._settings.cron_minute_seconds)
            minute += timedelta(minutes=1)
            self.pass_minute(minute)

    def pass_minute(self, minute: datetime) -> None:
        """Fire what is due in one minute."""
        for app in self._apps.all_deployed():
            for record in self._functions.of(app):
                if self._is_due(record, minute):
                    self.fire(record)

    def _is_due(self, record: FunctionRecord, minute: datetime) -> bool:
        if record.active is None:
            return False
        schedule = record.active.data.schedule
        if schedule.HasField("cron"):
            zone = ZoneInfo(schedule.cron.timezone or "UTC")
            return Cron.parse(schedule.cron.cron_string).matches(minute.astimezone(zone))
        if not schedule.HasField("period"):
            return False
        its = schedule.period
        period = timedelta(
            weeks=its.weeks,
            days=its.days,
            hours=its.hours,
            minutes=its.minutes,
            seconds=its.seconds,
        )
        due = self._periods.setdefault(record.active.id, minute + period)
        if minute < due:
            return False
        self._periods[record.active.id] = minute + period
        return True
