# Fits a Stan model by rstan, for scripts/bench/inference.py:
#
#   Rscript fit.R model.stan data.json folder chains warmup draws target cores
#
# The compiled model is kept in the folder. Draws of the population's parameters go to draws.csv, one
# column each, chains one after the other; seconds and leapfrog steps to cost.json.
given <- commandArgs(TRUE)
numbers <- as.numeric(given[4:8])
suppressMessages(library(rstan))
kept <- file.path(given[3], paste0(basename(given[1]), ".rds"))
if (file.exists(kept)) {
  model <- readRDS(kept)
} else {
  # Debian has Boost among the system's headers, where rstan does not look by itself.
  if (!file.exists(rstan_options("boost_lib"))) rstan_options(boost_lib = "/usr/include")
  model <- stan_model(given[1], auto_write = FALSE, save_dso = TRUE)
  saveRDS(model, kept)
}
data <- jsonlite::fromJSON(given[2])
options(mc.cores = numbers[5])
# Where no start is stated chains begin at random, from -2 to 2 without constraints.
start <- if (is.null(data$start)) "random" else function() data$start
began <- proc.time()[["elapsed"]]
fit <- sampling(
  model, data = data, chains = numbers[1], warmup = numbers[2], iter = numbers[2] + numbers[3],
  seed = as.integer(data$seed), refresh = 0, init = start,
  control = list(adapt_delta = numbers[4])
)
seconds <- proc.time()[["elapsed"]] - began
names <- grep("^(effect|lp__)", names(fit), value = TRUE, invert = TRUE)
draws <- as.array(fit, pars = names)
flat <- apply(draws, 3, as.vector)
write.csv(flat, file.path(given[3], "draws.csv"), row.names = FALSE)
steps <- sum(sapply(get_sampler_params(fit, inc_warmup = TRUE), function(x) sum(x[, "n_leapfrog__"])))
diverged <- sum(get_divergent_iterations(fit))
each <- sum(get_elapsed_time(fit))
jsonlite::write_json(
  list(seconds = seconds, processor_seconds = each, steps = steps, diverged = diverged,
       version = as.character(packageVersion("rstan"))),
  file.path(given[3], "cost.json"), auto_unbox = TRUE, digits = 8
)
