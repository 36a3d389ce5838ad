# Counts one check's output (TAP, as cmocka and the scripts here write it); prints
# "passed failed skipped". rc is the check's exit status.
#
# A check that writes no TAP but ends with a line "name: N passed, N failed" is taken by its word.
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
{ last = $0 }
END {
    close_plan()
    if (total == 0 && last ~ /^[a-z]+: [0-9]+ passed, [0-9]+ failed$/) {
        split(last, word, /[ ,]+/)
        passed = word[2]
        failed = word[4]
        total = passed + failed
    }
    if (rc != 0 && failed == 0)
        failed = 1
    if (rc == 0 && total == 0 && failed == 0)
        passed = 1
    printf "%d %d %d\n", passed, failed, skipped
}
