// posteriordb's one_comp_mm_elim_abs: one dose of 30 mg in 2 L, log-normal errors.
functions {
  real[] saturable(real t, real[] amount, real[] own, real[] x_r, int[] x_i) {
    real absorbed = 30 * own[1] * exp(-own[1] * t) / 2;
    return { absorbed - own[3] / 2 * amount[1] / (own[2] + amount[1]) };
  }
}
data {
  int<lower=1> observations;
  real<lower=0> time[observations];
  vector[observations] concentration;
  real<lower=0> tolerance;
}
transformed data {
  real x_r[0];
  int x_i[0];
}
parameters {
  real<lower=0> k_a;
  real<lower=0> K_m;
  real<lower=0> V_m;
  real<lower=0> sigma;
}
model {
  real expected[observations, 1] = integrate_ode_bdf(
    saturable, { 0.0 }, 0.0, time, { k_a, K_m, V_m }, x_r, x_i, tolerance, tolerance, 10000);
  k_a ~ cauchy(0, 1);
  K_m ~ cauchy(0, 1);
  V_m ~ cauchy(0, 1);
  sigma ~ cauchy(0, 1);
  concentration ~ lognormal(log(to_vector(expected[, 1])), sigma);
}
