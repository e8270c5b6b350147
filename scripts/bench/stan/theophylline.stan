// The population of configs/fit_theophylline.yaml as an ODE, random effects standardised.
functions {
  real[] one_compartment(real t, real[] amount, real[] own, real[] x_r, int[] x_i) {
    real absorbed = own[1] * amount[1];
    return { -absorbed, absorbed - own[2] / own[3] * amount[2] };
  }
}
data {
  int<lower=1> subjects;
  int<lower=1> observations;
  int<lower=1, upper=observations> first[subjects];
  int<lower=1, upper=observations> last[subjects];
  real<lower=0> time[observations];   // after the dose, increasing; values at 0 are of nothing
  vector[observations] measured;
  real<lower=0> dose[subjects];
  real<lower=0> tolerance;
}
transformed data {
  real x_r[0];
  int x_i[0];
}
parameters {
  real<lower=0> typical_absorption_rate;
  real<lower=0> typical_clearance;
  real<lower=0> typical_central_volume;
  real<lower=0> sd_absorption_rate;
  real<lower=0> sd_clearance;
  real<lower=0> sd_central_volume;
  real<lower=0> residual_sd_concentration;
  vector[3] effect[subjects];
}
model {
  vector[observations] expected;
  typical_absorption_rate ~ lognormal(log(1.5), 1);
  typical_clearance ~ lognormal(log(3), 1);
  typical_central_volume ~ lognormal(log(30), 1);
  sd_absorption_rate ~ normal(0, 1);
  sd_clearance ~ normal(0, 0.5);
  sd_central_volume ~ normal(0, 0.5);
  residual_sd_concentration ~ normal(0, 2);
  for (i in 1:subjects) {
    real own[3];
    int begin = first[i];
    effect[i] ~ std_normal();
    own[1] = typical_absorption_rate * exp(sd_absorption_rate * effect[i, 1]);
    own[2] = typical_clearance * exp(sd_clearance * effect[i, 2]);
    own[3] = typical_central_volume * exp(sd_central_volume * effect[i, 3]);
    while (time[begin] == 0) {
      expected[begin] = 0;
      begin += 1;
    }
    {
      real amounts[last[i] - begin + 1, 2] = integrate_ode_rk45(
        one_compartment, { dose[i], 0.0 }, 0.0, time[begin:last[i]], own, x_r, x_i,
        tolerance, tolerance, 10000);
      for (j in begin:last[i])
        expected[j] = amounts[j - begin + 1, 2] / own[3];
    }
  }
  measured ~ normal(expected, residual_sd_concentration);
}
