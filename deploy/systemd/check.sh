#!/bin/sh
# Test the shipped units on a real systemd: boot Debian 12 in a container and run the worker, and a fleet, in it.
# Needs root, debootstrap, systemd-nspawn, nsenter and make install. Exits with 77 if containers can't be booted here.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tree=$here/../..
cache=${XDG_CACHE_HOME:-$HOME/.cache}/syncsvc
scratch=$(mktemp -d)
root=$scratch/root
console=$scratch/console
init=
system=$cache/bookworm-postgresql
container=
host_python=$tree/.venv/bin/python

cleanup() {
  if [ -n "$container" ]; then
    # The end of its process 1 ends all of them, so that nothing writes any more.
    kill -KILL "${init:-$container}" 2>/dev/null || :
    wait "$container" 2>/dev/null || :
  fi
  rm -rf "$scratch"
}
trap cleanup EXIT

skip() {
  echo "Skipped: $1" >&2
  exit 77
}
fail() {
  echo "Failed: $1" >&2
  inside journalctl --no-pager --lines 60 --unit 'syncsvc*' >&2 || :
  exit 1
}
passed() {
  echo "ok: $1"
}
# Run a command on the booted machine.
inside() {
  nsenter --target "$init" --all --root --wdns=/ -- "$@"
}
# Wait up to 60 s until a command succeeds.
await() { # WHAT COMMAND…
  what=$1
  shift
  tries=300
  until "$@" >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || fail "$what did not happen within 60 s."
    sleep 0.2
  done
}
property() { # UNIT NAME
  inside systemctl show --value --property "$2" "$1"
}
is() { # UNIT NAME VALUE
  [ "$(property "$1" "$2")" = "$3" ]
}
status_says() { # WORDS
  property syncsvc StatusText | grep -q "$1"
}
logged() { # UNIT WORDS; since the unit was last started
  inside journalctl --no-pager --output cat "_SYSTEMD_INVOCATION_ID=$(property "$1" InvocationID)" | grep -q "$2"
}
answers() { # PATH
  inside curl --silent --fail --output /dev/null "http://127.0.0.1:9464$1"
}
sql() { # STATEMENT; prints the first value
  inside python3 -c '
import sqlite3, sys
with sqlite3.connect("/var/lib/private/syncsvc/syncsvc.db", timeout=30) as database:
    row = database.execute(sys.argv[1]).fetchone()
print(row[0] if row else "")' "$1"
}
drop_in() { # UNIT LINE…
  mkdir -p "$root/etc/systemd/system/$1.d"
  unit=$1
  shift
  printf '%s\n' "$@" >"$root/etc/systemd/system/$unit.d/check.conf"
  inside systemctl daemon-reload
}
signal() { # NAME PID; a minimal Debian has no /bin/kill
  inside sh -c "kill -$1 $2"
}
start_provider() {
  inside systemctl restart provider
  await "The start of the provider" inside curl --silent --fail http://127.0.0.1:8080/sandbox
}
fault() { # JSON
  inside curl --silent --fail --output /dev/null --data "$1" http://127.0.0.1:8080/sandbox/faults
}

# --- The machine -------------------------------------------------------------------------------------------

[ "$(id -u)" -eq 0 ] || skip "booting a container needs root."
for program in debootstrap systemd-nspawn nsenter; do
  command -v $program >/dev/null || skip "$program is not installed."
done
unshare --mount --pid --net --ipc --uts --fork true 2>/dev/null || skip "this machine allows no namespaces."

# Debian's base system and its PostgreSQL, made once. The mirror is the one that this machine's apt uses.
if [ ! -d "$system" ]; then
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' 'Label: Debian' |
    awk '$2 !~ /-/ {print $1; exit}')
  [ -n "$mirror" ] || skip "apt knows no mirror of Debian."
  mkdir -p "$cache"
  rm -rf "$system.partial"
  debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,python3,python3-venv,curl,postgresql \
    bookworm "$system.partial" "$mirror" >"$scratch/debootstrap" 2>&1 ||
    skip "debootstrap failed: $(tail -n 3 "$scratch/debootstrap")"
  mv "$system.partial" "$system"
fi
cp -a "$system" "$root"

# The service in /opt/syncsvc, from the locked packages; the machine has no network.
mkdir "$root/wheels"
"$host_python" -m pip download --quiet --quiet --disable-pip-version-check --no-deps --require-hashes \
  --python-version 3.11 --only-binary=:all: --dest "$root/wheels" --requirement "$tree/requirements.lock"
(cd "$tree" && .venv/bin/hatchling build --target wheel --directory "$root/wheels") >"$scratch/build" 2>&1 || {
  cat "$scratch/build" >&2
  exit 1
}
cp "$tree/requirements.lock" "$root/wheels"
env --ignore-environment PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" sh -euc '
  python3 -m venv /opt/syncsvc
  pip="/opt/syncsvc/bin/python -m pip --quiet --no-cache-dir --disable-pip-version-check"
  $pip install --no-index --find-links /wheels --no-deps --require-hashes --requirement /wheels/requirements.lock
  $pip install --no-index --no-deps /wheels/syncsvc-*.whl'

# The units and the settings, installed as docs/operations.md says. The worker's tokens are credentials.
cp "$here"/*.service "$here"/*.timer "$root/etc/systemd/system"
mkdir -p "$root/etc/syncsvc" "$root/etc/credstore"
printf '%s\n' 'api_url = "http://127.0.0.1:8080"' 'schedule = "1h"' 'page_size = 20' \
  >"$root/etc/syncsvc/syncsvc.toml"
printf 'sandbox-token' >"$root/etc/credstore/syncsvc.api_token"
chmod 600 "$root/etc/credstore/syncsvc.api_token"
cat >"$root/etc/systemd/system/provider.service" <<END
[Service]
ExecStart=/opt/syncsvc/bin/syncsvc sandbox --port 8080 --numbers 200
END

systemd-nspawn --quiet --directory "$root" --boot --keep-unit --register=no --private-network --console=pipe \
  </dev/null >"$console" 2>&1 &
container=$!
tries=300
until init=$(pgrep --parent $container) && [ -n "$init" ] && inside systemctl is-system-running 2>/dev/null |
  grep -qE 'running|degraded'; do
  tries=$((tries - 1))
  if [ $tries -eq 0 ] || ! kill -0 $container 2>/dev/null; then
    skip "systemd does not boot in a container here: $(tail -n 5 "$console")"
  fi
  sleep 0.2
done
passed "systemd $(inside systemctl --version | awk 'NR == 1 {print $2}') has booted"
start_provider

# --- Migrations and exit 2 ---------------------------------------------------------------------------------

fails_for_good() { # WORDS
  ! inside systemctl start syncsvc 2>/dev/null || fail "The worker starts although it should report: $1"
  is syncsvc ExecMainStatus 2 || fail "The worker ends with $(property syncsvc ExecMainStatus), not with 2."
  sleep 2 # longer than RestartSec
  is syncsvc NRestarts 0 || fail "systemd restarts a worker that ended with 2."
  logged syncsvc "$1" || fail "The worker does not report: $1"
  inside systemctl reset-failed syncsvc
}
drop_in syncsvc.service '[Service]' 'RestartSec=1s' 'WatchdogSec=4s'

inside systemctl start syncsvc-migrate || fail "The first migration fails."
[ "$(inside stat --format %a /var/lib/private/syncsvc/syncsvc.db)" = 600 ] || fail "Others can read the database."
current=$(sql 'SELECT version_num FROM alembic_version')
passed "syncsvc-migrate creates a private database, with schema $current"

# As docs/operations.md has an operator downgrade.
inside /opt/syncsvc/bin/python -c "
from sqlalchemy import make_url
from syncsvc.database import engine
from syncsvc.database.maintenance import migrate
migrate.downgrade(engine.open_engine(make_url('sqlite:////var/lib/private/syncsvc/syncsvc.db')), '0001')
" 2>/dev/null || fail "The schema can't be downgraded."
fails_for_good "syncsvc migrate"
passed "a worker on an outdated schema ends with 2 and is not restarted"

inside systemctl start syncsvc-migrate || fail "The migration fails."
[ "$(sql 'SELECT version_num FROM alembic_version')" = "$current" ] || fail "The migration does nothing."
passed "syncsvc-migrate upgrades the schema from 0001 to $current"

sql "UPDATE alembic_version SET version_num = '9999'" >/dev/null
fails_for_good newer
inside systemctl start syncsvc-migrate 2>/dev/null && fail "The migration accepts a newer schema."
is syncsvc-migrate ExecMainStatus 2 || fail "The migration of a newer schema ends with $(property syncsvc-migrate ExecMainStatus)."
[ "$(sql 'SELECT version_num FROM alembic_version')" = 9999 ] || fail "The migration changes a newer schema."
sql "UPDATE alembic_version SET version_num = '$current'" >/dev/null
passed "a schema newer than the program is reported as that and left alone"

echo 'no_such_setting = 1' >>"$root/etc/syncsvc/syncsvc.toml"
fails_for_good no_such_setting
sed -i '$d' "$root/etc/syncsvc/syncsvc.toml"
passed "a worker with an invalid setting ends with 2 and is not restarted"

# --- The worker --------------------------------------------------------------------------------------------

inside systemctl start syncsvc || fail "The worker does not become ready."
await "The first run's success" status_says succeeded
[ "$(sql 'SELECT count(*) FROM numbers')" = 200 ] || fail "The worker synced $(sql 'SELECT count(*) FROM numbers') of 200 numbers."
answers /livez && answers /readyz || fail "The health endpoints do not answer with 200."
passed "the worker is ready, and its status is: $(property syncsvc StatusText)"

pid=$(property syncsvc MainPID)
inside grep -qz sandbox-token "/proc/$pid/environ" && fail "The token is in the worker's environment."
user=$(inside stat --format %u "/proc/$pid")
[ "$user" -ge 61184 ] || fail "The worker runs as the user $user, not as a dynamic one."
passed "the token comes from a credential, and the user is dynamic"

inside systemctl reload syncsvc || fail "systemctl reload syncsvc fails."
await "The reload" logged syncsvc worker.credentials_reloaded
is syncsvc MainPID "$pid" || fail "A reload restarts the worker."
passed "a reload reads the credentials again, in the same process"

restarted() { # OLD_PID
  ! is syncsvc MainPID "$1" && is syncsvc SubState running && status_says succeeded
}
signal KILL "$pid"
await "The restart after kill -9" restarted "$pid"
is syncsvc NRestarts 1 || fail "systemd restarted the worker $(property syncsvc NRestarts) times after kill -9."
passed "a killed worker is restarted"

pid=$(property syncsvc MainPID)
sleep 5 # longer than WatchdogSec
is syncsvc MainPID "$pid" || fail "The watchdog ends a worker that makes progress."
signal STOP "$pid"
await "The restart of a stopped worker" restarted "$pid"
inside journalctl --no-pager --unit syncsvc | grep -q 'Watchdog timeout' || fail "It was not the watchdog."
passed "a worker that makes no progress is restarted by the watchdog"

# --- Stops in the middle of a run ---------------------------------------------------------------------------

in_a_run() {
  [ "$(sql "SELECT count(*) FROM sync_runs WHERE state = 'running'")" = 1 ]
}
a_run_crashed() {
  [ "$(sql "SELECT count(*) FROM sync_runs WHERE state = 'crashed'")" = 1 ]
}
slow='[{"kind": "delay", "endpoint": "numbers", "seconds": 60, "skip": 3, "times": 100}]'
fault "$slow"
inside systemctl restart syncsvc
await "A run" in_a_run
pid=$(property syncsvc MainPID)
signal KILL "$pid"
await "The mark of the killed run" a_run_crashed
await "The next run" in_a_run
passed "a run whose worker is killed counts as crashed, and the next worker runs"

inside systemctl stop syncsvc
is syncsvc Result success || fail "Stopping in a run ends with $(property syncsvc Result)."
[ "$(sql "SELECT state FROM sync_runs ORDER BY id DESC LIMIT 1")" = failed ] || fail "The stopped run is not marked as failed."
[ "$(sql 'SELECT count(*) FROM numbers')" = 200 ] || fail "A stopped run changed the numbers."
passed "a stop in the middle of a run rolls it back"

# --- The timer ----------------------------------------------------------------------------------------------

start_provider # without the fault
drop_in syncsvc-sync.timer '[Timer]' 'RandomizedDelaySec=0'
by_timer() {
  [ "$(sql "SELECT state || ' ' || \"trigger\" FROM sync_runs ORDER BY id DESC LIMIT 1")" = 'succeeded manual' ]
}
inside systemctl start syncsvc-sync.timer
await "The timer's run" by_timer
await "The end of the timer's run" is syncsvc-sync ActiveState inactive
is syncsvc-sync Result success || fail "The timer's run ends with $(property syncsvc-sync Result)."
inside systemctl list-timers --no-legend syncsvc-sync.timer | grep -q 1[45]min || fail "The timer does not run in 15 minutes."
passed "the timer starts a run, and the next one in 15 minutes"
inside systemctl stop syncsvc-sync.timer

# --- A fleet, on PostgreSQL ---------------------------------------------------------------------------------

one=syncsvc-fleet@9464 other=syncsvc-fleet@9465
key=$(inside python3 -c 'import base64, os; print(base64.b64encode(os.urandom(32)).decode())')
database=postgresql://syncsvc:in-the-container@127.0.0.1/inventory
pg() { # STATEMENT; prints the first value
  inside runuser -u postgres -- psql --no-psqlrc --quiet --tuples-only --no-align --command "$1" "${2:-inventory}"
}
counts() { # NUMBER TABLE CONDITION
  [ "$(pg "SELECT count(*) FROM $2 WHERE $3")" = "$1" ]
}
cli() { # WORD…
  inside env SYNCSVC_DATABASE_URL=$database SYNCSVC_ACCOUNTS_KEY="$key" /opt/syncsvc/bin/syncsvc "$@"
}
instance_answers() { # PORT
  inside curl --silent --fail --output /dev/null "http://127.0.0.1:$1/livez" "http://127.0.0.1:$1/readyz"
}
instance_restarted() { # UNIT OLD_PID
  ! is "$1" MainPID "$2" && is "$1" SubState running && instance_answers "${1#*@}"
}
await "The start of PostgreSQL" inside pg_isready --quiet
pg "CREATE ROLE syncsvc LOGIN PASSWORD 'in-the-container'" postgres
pg 'CREATE DATABASE inventory OWNER syncsvc' postgres
printf %s "$database" >"$root/etc/credstore/syncsvc.database_url"
printf %s "$key" >"$root/etc/credstore/syncsvc.accounts_key"
rm "$root/etc/credstore/syncsvc.api_token" # each account has its own
chmod 600 "$root"/etc/credstore/*
drop_in syncsvc-fleet@.service '[Service]' 'RestartSec=1s'

inside systemctl start $one 2>/dev/null && fail "A worker of a fleet without tables is said to have started."
is $one ExecMainStatus 2 || fail "A worker of a fleet without tables ends with $(property $one ExecMainStatus), not with 2."
sleep 2 # longer than RestartSec
is $one NRestarts 0 || fail "systemd restarts a worker of a fleet that ended with 2."
logged $one "syncsvc migrate" || fail "A worker of a fleet without tables does not say what to do."
inside systemctl reset-failed $one
drop_in syncsvc-migrate.service '[Service]' ExecStart= 'ExecStart=/opt/syncsvc/bin/syncsvc migrate --fleet'
inside systemctl start syncsvc-migrate || fail "The migration of a fleet fails."
passed "a fleet's worker without tables ends with 2, and syncsvc-migrate creates them"

for account in berlin paris rome; do
  echo 'api_token = "sandbox-token"' | cli accounts add $account --credentials - >/dev/null ||
    fail "An account can't be added."
done
inside systemctl start $one $other || fail "The fleet does not start."
await "The first run of every account" counts 3 account_status "last_state = 'succeeded'"
counts 600 numbers "lifecycle = 'live'" || fail "The fleet synced $(pg 'SELECT count(*) FROM numbers') of 600 numbers."
await "The endpoints of both workers" eval 'instance_answers 9464 && instance_answers 9465'
is $one WatchdogUSec 2min || fail "The watchdog of a fleet's worker is $(property $one WatchdogUSec), not 2min."
passed "two workers on one host share three accounts, each with its own endpoints"

pid=$(property $one MainPID)
inside grep -qzF "$key" "/proc/$pid/environ" && fail "The accounts' key is in the environment of a worker."
user=$(inside stat --format %u "/proc/$pid")
[ "$user" -ge 61184 ] || fail "The fleet runs as the user $user, not as a dynamic one."
passed "the accounts' key comes from a credential, and the user is dynamic"

signal TERM "$pid"
await "The restart after SIGTERM" instance_restarted $one "$pid"
passed "a worker of a fleet that ended by itself is restarted"

begin_hanging() { # ACCOUNT; sets $busy to the unit that syncs it
  fault '[{"kind": "delay", "endpoint": "numbers", "seconds": 60, "times": 1}]'
  cli accounts due "$1" >/dev/null || fail "An account can't be made due."
  await "A run" counts 1 sync_runs "state = 'running'"
  await "The worker of the run" find_busy
}
find_busy() {
  for busy in $one $other; do
    inside curl --silent "http://127.0.0.1:${busy#*@}/metrics" | grep -q '^syncsvc_fleet_slots{.*state="used".*} [1-9]' && return
  done
  return 1
}
begin_hanging berlin
pid=$(property "$busy" MainPID)
signal KILL "$pid"
await "The restart after kill -9" instance_restarted "$busy" "$pid"
await "The next run of a lost account" counts 1 account_status "account = 'berlin' AND last_state = 'succeeded' AND failures = 0"
counts 1 sync_runs "state = 'crashed'" || fail "The killed run is not marked as crashed."
passed "the account of a killed worker runs elsewhere, and the worker is restarted"

begin_hanging paris
inside systemctl stop $one $other
for unit in $one $other; do
  is $unit Result success || fail "Stopping a worker of a fleet ends with $(property $unit Result)."
done
counts 1 account_status "account = 'paris' AND failures = 0 AND next_run_at <= now()" ||
  fail "An account whose run was stopped is not due at once."
counts 600 numbers "lifecycle = 'live'" || fail "A stopped run changed the numbers."
passed "a stop in the middle of a fleet's run rolls it back, and the account is due at once"
echo "All units work on a real systemd."
