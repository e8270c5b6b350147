# Solves a benchmark problem by mrgsolve whenever a line on standard input says so.
#
#   Rscript mrgsolve.R FOLDER RTOL ATOL PROCESSES
#
# FOLDER holds ensemble.cpp (the model), parameters.csv (a patient a row), doses.csv (time, amt) and
# times.csv; tools/mrgsolve_runs.py writes them. Lines: "ready", "run" (solve all patients), "write"
# (the last outputs to outputs.csv). Each is answered by "done".

given <- commandArgs(trailingOnly = TRUE)
folder <- given[1]
processes <- as.integer(given[4])
suppressPackageStartupMessages(library(mrgsolve))

# What the compiler of the model says must not stand among the answers.
sink(stderr(), type = "output")
model <- mread("ensemble", project = folder, quiet = TRUE)
model <- update(
  model, rtol = as.numeric(given[2]), atol = as.numeric(given[3]), maxsteps = 100000
)
sink(type = "output")

read <- function(name) read.csv(file.path(folder, name))
patients <- read("parameters.csv")
patients$ID <- seq_len(nrow(patients))
doses <- read("doses.csv")
times <- read("times.csv")$time
outputs <- grep("^o[0-9]+$", outvars(model)$capture, value = TRUE)

# Each patient's records, observations before a dose of the same time, with its parameters beside
# them: mrgsim_q, which mrgsolve recommends for timing, takes all from one data set.
records <- rbind(
  data.frame(time = times, amt = 0, cmt = 0, evid = 0),
  data.frame(time = doses$time, amt = doses$amt, cmt = 1, evid = 1)
)
records <- records[order(records$time, records$evid), ]
share_of <- function(own) {
  rows <- rep(seq_len(nrow(own)), each = nrow(records))
  every <- records[rep(seq_len(nrow(records)), nrow(own)), ]
  list(data = valid_data_set(cbind(every, own[rows, ]), model), observed = every$evid == 0)
}
part <- (patients$ID - 1) * processes %/% nrow(patients)
shares <- lapply(split(patients, part), share_of)

solve <- function(share) {
  mrgsim_q(model, data = share$data, output = "df")[share$observed, outputs]
}

found <- NULL
lines <- file("stdin", open = "r")
while (length(line <- readLines(lines, n = 1)) > 0) {
  if (line == "run") {
    found <- parallel::mclapply(shares, solve, mc.cores = processes)
  } else if (line == "write") {
    write.csv(do.call(rbind, found), file.path(folder, "outputs.csv"), row.names = FALSE)
  }
  cat("done\n")
  flush(stdout())
}
