"""Pure functions on images: conversion, corruption, augmentation, pooling, convolution."""
