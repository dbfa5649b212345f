# Steps of a run, sourced by .ci/run: alone NAME COMMAND runs one by itself, together NAME COMMAND up to SLOTS at a time with one thread
# each, finish waits for those. Each writes a log that is printed when it ends; the first failure ends the run (call stop in its trap).
SLOTS=${SLOTS:-2}
logs=$(mktemp -d "${work:?}/logs.XXXX")
count=0

# run NUMBER NAME COMMAND: the log, the seconds and the status of a step; set -e holds inside the command.
run_step() {
    local number=$1 name=$2 status=0
    shift 2
    local start=$SECONDS
    (set -euo pipefail; "$@") > "$logs/$number.log" 2>&1 &
    wait $! || status=$?
    echo "$status" > "$logs/$number.status"
    printf '%s\t%s\n' "$((SECONDS - start))" "$name" > "$logs/$number.seconds"
    (
        flock 9
        printf '\n=== %s (%s s, %s)\n' "$name" "$((SECONDS - start))" "$([ "$status" = 0 ] && echo passed || echo "FAILED with status $status")"
        cat "$logs/$number.log"
    ) 9> "$logs/lock"
    return "$status"
}

# A step in the background, in a process group of its own, so that stop reaches what it has started.
begin() {
    count=$((count + 1))
    set -m
    run_step "$(printf %03d "$count")" "$@" &
    set +m
}

alone() {
    begin "$@"
    wait $!
}

together() {
    while [ "$(jobs -rp | wc -l)" -ge "$SLOTS" ]; do wait -n || true; all_well; done
    all_well
    OMP_NUM_THREADS=1 begin "$@"
}

# Bash forgets the status of a job that ends while it begins another one, so that `wait -n` is no witness; the files are.
all_well() { ! grep -qvx 0 "$logs"/*.status 2> /dev/null; }

finish() {
    while [ -n "$(jobs -rp)" ]; do wait -n || true; all_well; done
    all_well
    [ "$(cat "$logs"/*.status 2> /dev/null | wc -l)" = "$count" ]       # a step that was killed has none
}

stop() {
    local job
    for job in $(jobs -p); do kill -- "-$job" 2> /dev/null || true; done
}

# The seconds of every step, in the order in which they began.
table() {
    printf '\n%7s  step\n' seconds
    cat "$logs"/*.seconds | awk -F '\t' '{ printf "%7d  %s\n", $1, $2 }'
    printf '%7d  the whole run\n' "$SECONDS"
}
