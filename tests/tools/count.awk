# Counts one check's output (TAP, as cmocka and the scripts here write it); prints
# "passed failed skipped". rc is the check's exit status.
#
# A plan (1..N) with fewer than N results after it means that the program ended early: the missing
# ones failed. A check that failed without saying where counts one failed; a check that said nothing
# and ended well counts one passed.
function close_plan()
{
    if (planned > seen)
        failed += planned - seen
    planned = 0
    seen = 0
}
/^1\.\.[0-9]+/ {
    close_plan()
    planned = substr($1, 4) + 0
    next
}
/^(not )?ok( |$)/ {
    seen++
    total++
    if (toupper($0) ~ /# *SKIP/)
        skipped++
    else if ($1 == "ok")
        passed++
    else
        failed++
}
END {
    close_plan()
    if (rc != 0 && failed == 0)
        failed = 1
    if (rc == 0 && total == 0 && failed == 0)
        passed = 1
    printf "%d %d %d\n", passed, failed, skipped
}
