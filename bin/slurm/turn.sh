# What the recipes share: one turn of a job that goes on where the turn before it stopped.  To be sourced.
#   setup PROGRAM      goes to the folder the job was submitted from and sets PATH; exit 2 where PROGRAM is not to be found
#   turn COMMAND...    runs it; on TERM tells it (and all it started), waits for it, and queues the job again
# Queued again is only a job that TERM stopped and that got further: what `progress` prints, a function of the recipe, has
# changed.  So an error (exit 1 or 2) is final, and so is a time limit too short to get anywhere.  After the failure of a
# node Slurm itself queues a job with --requeue again.
CHILD='' STOPPED='' TOLD='' LEAD=${LEAD:-300} # LEAD: seconds between TERM and the end, as in --signal of the recipe
NAME=${SLURM_JOB_NAME:-job}
say() { echo "$NAME: $*" >&2; }
# Once and no more, and never with a status that set -e would take for an error.  The child is a process group of its own.
stop_child() { [ -z "$CHILD" ] || [ -n "$TOLD" ] || { TOLD=1 && tell_child 2> /dev/null || true; }; }
tell_child() { kill -TERM -- "-$CHILD"; }
trap 'STOPPED=1; stop_child' TERM

setup() {
    cd "${SLURM_SUBMIT_DIR:-.}"
    export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1
    command -v "$1" > /dev/null || { say "no $1 in $PWD/.venv/bin nor on PATH: run make venv there first" && exit 2; }
    local given=$((${SLURM_JOB_END_TIME:-0} - ${SLURM_JOB_START_TIME:-0}))
    if [ -n "${SLURM_JOB_END_TIME:-}" ] && [ $given -le "$LEAD" ]; then
        say "--time gives $given s, of which the last $LEAD are for ending well: give more"
        exit 2
    fi
}

turn() {
    local before code before_wait
    before=$(progress)
    set -m
    "$@" &
    CHILD=$!
    set +m
    [ -z "$STOPPED" ] || stop_child # TERM came before there was a child
    # A wait that TERM interrupts says 143, whatever the child does; the child's own status comes from the next one.
    while :; do
        code=0 before_wait=$STOPPED
        wait "$CHILD" || code=$?
        [ "$before_wait" = "$STOPPED" ] && break
    done
    [ $code -ne 0 ] || exit 0
    # torchrun says 1 whatever ended its processes, so what counts is that TERM came; 130 and 143 are a stop from elsewhere.
    [ -n "$STOPPED" ] || [ $code -eq 130 ] || [ $code -eq 143 ] || exit $code
    if [ "$(progress)" = "$before" ]; then
        say "stopped without having got further: not queued again, since the next turn would do no better; give a longer --time"
        exit $code
    fi
    # A task of an array by both numbers: its job's number alone may mean the whole array.
    scontrol requeue "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_JOB_ID:+_$SLURM_ARRAY_TASK_ID}"
}
